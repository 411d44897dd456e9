"""What is summed over batches: losses, correct predictions, skipped steps."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32, Int32

from jaxmnist.batches import Batch


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
    """First step that ended `MOST_BAD_STEPS` skipped ones in a row; `NO_BAD_STEP` when none did."""


NO_BAD_STEP = 2**31 - 1


def no_metrics() -> Metrics:
    """The sums over no images; no two share a buffer, as they are donated."""
    return Metrics(jnp.float32(0), jnp.int32(0), jnp.int32(0), jnp.int32(0), jnp.int32(NO_BAD_STEP))


def sums_of(outputs: Float[Array, "batch 10"], batch: Batch) -> Metrics:
    """The sums over a batch, of a network's outputs for it."""
    # Networks give log-probabilities or logits; log-softmax leaves the former as they are.
    log_probs = jax.nn.log_softmax(outputs)
    chosen = jnp.take_along_axis(log_probs, batch.labels[:, None], axis=1)[:, 0]
    counts = batch.mask > 0
    correct = (outputs.argmax(1) == batch.labels) & counts
    # `where`, not a product: whatever stands in the padding stays out, even if it is not finite.
    return Metrics(
        loss_sum=-jnp.where(counts, chosen, 0.0).sum(),
        correct=correct.sum(dtype=jnp.int32),
        examples=counts.sum(dtype=jnp.int32),
        skipped=jnp.int32(0),
        bad_step=jnp.int32(NO_BAD_STEP),
    )


def smoothed(loss_sum: Array, outputs: Array, batch: Batch, share: float) -> Array:
    """Cross-entropy with a target of which this share is spread evenly over the classes, as a sum."""
    spread = -jax.nn.log_softmax(outputs).mean(1)
    return (1 - share) * loss_sum + share * jnp.where(batch.mask > 0, spread, 0.0).sum()


def add(a: Metrics, b: Metrics) -> Metrics:
    """The sums over the images of both."""
    return Metrics(
        a.loss_sum + b.loss_sum,
        a.correct + b.correct,
        a.examples + b.examples,
        a.skipped + b.skipped,
        jnp.minimum(a.bad_step, b.bad_step),
    )
