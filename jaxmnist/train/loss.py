"""Losses, sums over batches, and distillation from a teacher."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32, Int32, PyTree

from jaxmnist.augment import normalise
from jaxmnist.config import Distillation, Recipe
from jaxmnist.models import Model
from jaxmnist.train.batch import Batch


class Metrics(NamedTuple):
    """Sums over the images seen; neither padding nor the images of skipped steps count."""

    loss_sum: Float32[Array, ""]
    """Sum of the negative log-likelihoods."""
    correct: Int32[Array, ""]
    """Images whose highest score is the label's."""
    examples: Int32[Array, ""]
    """Images seen."""
    skipped: Int32[Array, ""]
    """Steps skipped because a value was not finite."""
    bad_step: Int32[Array, ""]
    """First step to complete `MOST_BAD_STEPS` consecutive skipped ones; `NO_BAD_STEP` if there is none."""


NO_BAD_STEP = 2**31 - 1


def no_metrics() -> Metrics:
    """Returns the sums over no images; no two share a buffer, since they are donated."""
    return Metrics(jnp.float32(0), jnp.int32(0), jnp.int32(0), jnp.int32(0), jnp.int32(NO_BAD_STEP))


def sums_of(outputs: Float[Array, "batch classes"], batch: Batch) -> Metrics:
    """Sums losses and correct predictions over a batch.

    Args:
        outputs: log-probabilities or logits.
        batch: labels and mask.
    """
    # Networks give log-probabilities or logits; log-softmax leaves the former as they are.
    log_probs = jax.nn.log_softmax(outputs)
    chosen = jnp.take_along_axis(log_probs, batch.labels[:, None], axis=1)[:, 0]
    counts = batch.mask > 0
    correct = (outputs.argmax(1) == batch.labels) & counts
    # `where`, not a product: padding stays out even if its values are not finite.
    return Metrics(
        loss_sum=-jnp.where(counts, chosen, 0.0).sum(),
        correct=correct.sum(dtype=jnp.int32),
        examples=counts.sum(dtype=jnp.int32),
        skipped=jnp.int32(0),
        bad_step=jnp.int32(NO_BAD_STEP),
    )


def smoothed(loss_sum: Array, outputs: Array, batch: Batch, share: float) -> Array:
    """Smooths a sum of losses: this share of the target is spread evenly over all classes (label smoothing)."""
    spread = -jax.nn.log_softmax(outputs).mean(1)
    return (1 - share) * loss_sum + share * jnp.where(batch.mask > 0, spread, 0.0).sum()


def add(a: Metrics, b: Metrics) -> Metrics:
    """Adds two sets of sums."""
    return Metrics(
        a.loss_sum + b.loss_sum,
        a.correct + b.correct,
        a.examples + b.examples,
        a.skipped + b.skipped,
        jnp.minimum(a.bad_step, b.bad_step),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Teacher:
    """A trained network that another one learns from. Compares by identity, like the programs compiled with it."""

    model: Model
    variables: PyTree
    """Weights and running statistics, as NumPy arrays."""
    recipe: Recipe
    """Recipe it was trained by, for the normalisation of its images."""

    def outputs(self, images: Array) -> Float[Array, "batch classes"]:
        """Returns its outputs in evaluation mode for raw images, which may be augmented already."""
        variables = jax.tree.map(jnp.asarray, self.variables)
        outputs = self.model.apply(variables, normalise(images, self.recipe))
        return jax.lax.stop_gradient(outputs)


def distilled(
    objective: Array,
    outputs: Float[Array, "batch classes"],
    teachers: Float[Array, "batch classes"],
    batch: Batch,
    distillation: Distillation,
) -> Float32[Array, ""]:
    """Mixes the objective with the loss against a teacher; sums over the images that count.

    The loss against the teacher is the cross-entropy of the softened probabilities of both networks, times the square
    of the temperature, which gives its gradient the size of the other's (Hinton, Vinyals and Dean 2015, section 2).

    Args:
        objective: sum of losses against the labels.
        outputs: logits or log-probabilities of the network.
        teachers: those of the teacher.
        batch: mask of the images that count.
        distillation: weight and temperature.
    """
    temperature = distillation.temperature
    targets = jax.nn.softmax(teachers / temperature)
    losses = -(targets * jax.nn.log_softmax(outputs / temperature)).sum(1)
    teachers_part = temperature**2 * jnp.where(batch.mask > 0, losses, 0.0).sum()
    return (1 - distillation.weight) * objective + distillation.weight * teachers_part
