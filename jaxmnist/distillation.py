"""Learning from another network's scores as well as from labels."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32

from jaxmnist.augment import normalise
from jaxmnist.batches import Batch
from jaxmnist.recipes import Distillation, Recipe


@dataclasses.dataclass(frozen=True, eq=False)
class Teacher:
    """A trained network that another one learns from; it compares by identity, as what is compiled with it does."""

    model: Any
    """A network of `jaxmnist.models`."""
    variables: Any
    """Its weights and running statistics, NumPy arrays."""
    recipe: Recipe
    """The one that says how it wants images normalised."""

    def outputs(self, images: Array) -> Float[Array, "batch 10"]:
        """Its scores in evaluation mode of raw images, which may be augmented already."""
        variables = jax.tree.map(jnp.asarray, self.variables)
        outputs = self.model.apply(variables, normalise(images, self.recipe))
        return jax.lax.stop_gradient(outputs)


def distilled(
    objective: Array,
    outputs: Float[Array, "batch 10"],
    teachers: Float[Array, "batch 10"],
    batch: Batch,
    distillation: Distillation,
) -> Float32[Array, ""]:
    """The objective with its share for the teacher, as a sum over the images that count.

    The teacher's part is the cross-entropy of the two networks' softened probabilities, times the square of the
    temperature, so that its gradient has the size of the other's (Hinton, Vinyals and Dean 2015, section 2).

    Args:
        objective: sum of losses against the labels.
        outputs: the network's logits or log-probabilities.
        teachers: the teacher's.
        batch: says which images count.
        distillation: weight and temperature.
    """
    temperature = distillation.temperature
    targets = jax.nn.softmax(teachers / temperature)
    losses = -(targets * jax.nn.log_softmax(outputs / temperature)).sum(1)
    teachers_part = temperature**2 * jnp.where(batch.mask > 0, losses, 0.0).sum()
    return (1 - distillation.weight) * objective + distillation.weight * teachers_part
