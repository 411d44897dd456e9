"""Many batches in one device call: loops of training steps, evaluation and prediction."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Float32, Int32, Key, PyTree, UInt8

from jaxmnist.config import Recipe
from jaxmnist.models import Model
from jaxmnist.runtime.parts import count_parts, first_row, total
from jaxmnist.train.batch import EpochData, gather
from jaxmnist.train.loss import Metrics, Teacher, add
from jaxmnist.train.state import TrainState
from jaxmnist.train.step import eval_step, outputs_of, train_step


def epoch_step(
    state: TrainState,
    metrics: Metrics,
    data: EpochData,
    index: Int32[Array, ""],
    key: Key[Array, ""],
    *,
    model: Model,
    optimizer: optax.GradientTransformation,
    recipe: Recipe,
    total_steps: int | None = None,
    teacher: Teacher | None = None,
) -> tuple[TrainState, Metrics]:
    """Takes the step of batch `index` of an epoch; arguments and results as for `train_chunk`."""
    size = recipe.batch_size // count_parts()
    batch = gather(data, index * recipe.batch_size + first_row(size), size)
    draw = index if recipe.repeat_epochs else state.step
    setup = {"model": model, "optimizer": optimizer, "recipe": recipe, "total_steps": total_steps}
    state, sums = train_step(state, batch, key=key, draw=draw, teacher=teacher, **setup)
    return state, add(metrics, sums)


def train_chunk(
    state: TrainState,
    metrics: Metrics,
    data: EpochData,
    start: Int32[Array, ""],
    steps: Int32[Array, ""],
    key: Key[Array, ""],
    **setup: Any,
) -> tuple[TrainState, Metrics]:
    """Takes consecutive steps of one epoch in a single device call.

    The number of steps is a value, not a shape: one compiled program serves chunks of any length. The result does
    not depend on how an epoch is cut into chunks.

    Args:
        state: the state before the steps.
        metrics: sums of the epoch so far.
        data: the dataset and the epoch's order.
        start: number of the first batch, from 0.
        steps: number of steps.
        key: the run's `Keys.step`.
        **setup: `model`, `optimizer`, `recipe`, `total_steps` and `teacher` as for `train_step`.

    Returns:
        The state after the steps, and the sums of the epoch so far.
    """

    def body(i: Array, carry: tuple[TrainState, Metrics]) -> tuple[TrainState, Metrics]:
        return epoch_step(*carry, data, start + i, key, **setup)

    return lax.fori_loop(0, steps, body, (state, metrics))


def evaluate_chunk(
    state: TrainState,
    metrics: Metrics,
    data: EpochData,
    start: Int32[Array, ""],
    batches: Int32[Array, ""],
    *,
    batch_size: int,
    model: Model,
    recipe: Recipe,
) -> Metrics:
    """Adds consecutive batches of a split to the sums, in evaluation mode; arguments as for `train_chunk`."""
    # Each device takes whole batches in turn with the others.
    parts, first = count_parts(), first_row(1)

    def body(i: Array, metrics: Metrics) -> Metrics:
        batch = gather(data, (start + first + i * parts) * batch_size, batch_size)
        return add(metrics, eval_step(state, batch, model=model, recipe=recipe)[0])

    if parts == 1:
        return lax.fori_loop(0, batches, body, metrics)
    none = jax.tree.map(jnp.zeros_like, metrics)._replace(bad_step=metrics.bad_step)
    own = lax.fori_loop(0, (batches - first + parts - 1) // parts, body, none)
    return add(metrics, Metrics(*total(own[:3]), *own[3:]))


def predict_chunk(
    variables: PyTree,
    images: UInt8[Array, "padded 28 28"] | Float32[Array, "padded 28 28"],
    *,
    batch_size: int,
    model: Model,
    recipe: Recipe,
) -> tuple[Int32[Array, " padded"], Float[Array, "padded classes"]]:
    """Predicts images without labels.

    Args:
        variables: `params` and `batch_stats`.
        images: raw images, a whole number of batches or less than one batch.
        batch_size: images per batch.
        model: the network.
        recipe: normalisation and tilt.

    Returns:
        The likeliest class of each image, and the log-probabilities of all classes.
    """
    batches = images.reshape(-1, min(batch_size, len(images)), *images.shape[1:])
    outputs = lax.map(lambda batch: outputs_of(model, variables, batch, recipe), batches)
    outputs = outputs.reshape(len(images), -1)
    # The class comes from the outputs, as in training: log-softmax can round two scores to one value.
    return outputs.argmax(1).astype(jnp.int32), jax.nn.log_softmax(outputs)
