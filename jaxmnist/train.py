"""Training as pure functions: a state and a batch in, a state and sums out.

Nothing here reads a file, a clock or the environment. Randomness is a function of (key, step): nothing
depends on what ran before, so any step can be repeated or resumed exactly.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Bool, Float, Float32, Int32, Key, PyTree, UInt8

from jaxmnist.augment import augment, normalise, strength_at
from jaxmnist.averaging import moved_average
from jaxmnist.batches import PADDING, Batch, epoch_order, gather
from jaxmnist.distillation import Teacher, distilled
from jaxmnist.metrics import NO_BAD_STEP, Metrics, add, no_metrics, smoothed, sums_of
from jaxmnist.optim import moments
from jaxmnist.recipes import Recipe
from jaxmnist.state import Keys, TrainState, create_state

__all__ = [
    "MOST_BAD_STEPS",
    "NO_BAD_STEP",
    "PADDING",
    "Batch",
    "Keys",
    "Metrics",
    "TrainState",
    "classify",
    "create_state",
    "epoch_order",
    "epoch_step",
    "eval_step",
    "evaluate_chunk",
    "no_metrics",
    "train_chunk",
    "train_step",
]

MOST_BAD_STEPS = 10
"""So many skipped steps in a row mean that training diverged; fewer can be bad luck."""


def train_step(
    state: TrainState,
    batch: Batch,
    *,
    key: Key[Array, ""],
    model: Any,
    optimizer: optax.GradientTransformation,
    recipe: Recipe,
    draw: Int32[Array, ""] | None = None,
    total_steps: int | None = None,
    teacher: Teacher | None = None,
) -> tuple[TrainState, Metrics]:
    """One step: augment, normalise, differentiate, update.

    A step whose loss, gradients, weights or running statistics are not finite is skipped: it is counted, and
    changes nothing else.

    Args:
        state: the state before the step.
        batch: raw images; the loss is the mean over those whose mask is 1, of which there is at least one.
        key: the run's `Keys.step`; what the step draws depends on it and on `draw` only.
        model: a network of `jaxmnist.models`.
        optimizer: what `jaxmnist.optim.make_optimizer` gives for the recipe.
        recipe: augmentation, normalisation, label smoothing, averaging and distillation.
        draw: number of the draws; `state.step` unless steps are to repeat draws.
        total_steps: of the whole training, see `Recipe.total_steps`; what fades or begins late needs it.
        teacher: the one that the recipe names, where it does.

    Returns:
        The state after the step, and the sums over the batch as the network saw it, before the update.
    """
    augment_key, dropout_key = jax.random.split(jax.random.fold_in(key, state.step if draw is None else draw))
    strength = strength_at(recipe.augmentation, state.step, total_steps)
    augmented = augment(augment_key, batch.images, recipe.augmentation, strength)
    images = normalise(augmented, recipe)
    if recipe.distillation is not None and teacher is None:
        raise ValueError("a recipe with a distillation needs its teacher")
    teachers = None if teacher is None else teacher.outputs(augmented)

    def mean_loss(params: PyTree) -> tuple[Array, tuple[Metrics, PyTree]]:
        outputs, updated = model.apply(
            {"params": params, "batch_stats": state.batch_stats},
            images,
            train=True,
            mask=batch.mask,
            rngs={"dropout": dropout_key},
            mutable=["batch_stats"],
        )
        metrics = sums_of(outputs, batch)
        objective = metrics.loss_sum
        if recipe.label_smoothing:
            objective = smoothed(objective, outputs, batch, recipe.label_smoothing)
        if recipe.distillation is not None and teachers is not None:
            objective = distilled(objective, outputs, teachers, batch, recipe.distillation)
        return objective / batch.mask.sum(), (metrics, updated.get("batch_stats", {}))

    gradients, (metrics, batch_stats) = jax.grad(mean_loss, has_aux=True)(state.params)
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    changed = TrainState(state.step + 1, params, batch_stats, opt_state, jnp.int32(0), state.average)
    # A barrier, or the guard is fused with the update, which then rounds otherwise.
    changed, metrics = lax.optimization_barrier((changed, metrics))
    # Gradients go into the moments, and these into the weights: what is not finite there shows here.
    values = (changed.params, changed.batch_stats, moments(changed.opt_state))
    finite = jnp.isfinite(metrics.loss_sum) & jnp.isfinite(optax.tree.norm(values))
    if recipe.averaging is not None:
        first = recipe.averaging.start_epoch * (total_steps or 0) // recipe.epochs
        average = moved_average(state.average, changed.last_variables, state.step - first, recipe.averaging)
        changed = changed._replace(average=average)
    skipped = state._replace(step=state.step + 1, bad_steps=state.bad_steps + 1)
    at_limit = skipped.bad_steps == MOST_BAD_STEPS
    bad_step = jnp.where(at_limit, state.step, NO_BAD_STEP)
    nothing = no_metrics()._replace(skipped=jnp.int32(1), bad_step=bad_step)
    return _select(finite, (changed, metrics), (skipped, nothing))


def eval_step(
    state: TrainState, batch: Batch, *, model: Any, recipe: Recipe
) -> tuple[Metrics, Float[Array, "batch 10"]]:
    """Sums over a batch in evaluation mode, and the network's outputs (garbage where the mask is 0)."""
    outputs = model.apply(state.variables, normalise(batch.images, recipe))
    return sums_of(outputs, batch), outputs


def epoch_step(
    state: TrainState,
    metrics: Metrics,
    images: UInt8[Array, "n 28 28"],
    labels: Int32[Array, " n"],
    order: Int32[Array, " padded"],
    index: Int32[Array, ""],
    key: Key[Array, ""],
    *,
    model: Any,
    optimizer: optax.GradientTransformation,
    recipe: Recipe,
    total_steps: int | None = None,
    teacher: Teacher | None = None,
) -> tuple[TrainState, Metrics]:
    """The step of an epoch with its batch number `index`; arguments and results as for `train_chunk`."""
    batch = gather(images, labels, order, index, recipe.batch_size)
    draw = index if recipe.repeat_epochs else state.step
    setup = {"model": model, "optimizer": optimizer, "recipe": recipe, "total_steps": total_steps}
    state, sums = train_step(state, batch, key=key, draw=draw, teacher=teacher, **setup)
    return state, add(metrics, sums)


def train_chunk(
    state: TrainState,
    metrics: Metrics,
    images: UInt8[Array, "n 28 28"],
    labels: Int32[Array, " n"],
    order: Int32[Array, " padded"],
    start: Int32[Array, ""],
    steps: Int32[Array, ""],
    key: Key[Array, ""],
    **setup: Any,
) -> tuple[TrainState, Metrics]:
    """Consecutive steps of one epoch in a single device call.

    The number of steps is a value, not a shape: one compiled program serves chunks of any length, and
    what comes out does not depend on where an epoch is cut into chunks.

    Args:
        state: the state before the first of the steps.
        metrics: sums of the epoch so far.
        images: all images of the dataset.
        labels: their labels.
        order: the epoch's `epoch_order`.
        start: batches of the epoch already done.
        steps: batches to do.
        key: the run's `Keys.step`.
        **setup: `model`, `optimizer`, `recipe`, `total_steps` and `teacher` as for `train_step`.

    Returns:
        The state after the steps, and the sums of the epoch so far.
    """

    def body(i: Array, carry: tuple[TrainState, Metrics]) -> tuple[TrainState, Metrics]:
        return epoch_step(*carry, images, labels, order, start + i, key, **setup)

    return lax.fori_loop(0, steps, body, (state, metrics))


def evaluate_chunk(
    state: TrainState,
    metrics: Metrics,
    images: UInt8[Array, "n 28 28"],
    labels: Int32[Array, " n"],
    order: Int32[Array, " padded"],
    start: Int32[Array, ""],
    batches: Int32[Array, ""],
    *,
    batch_size: int,
    model: Any,
    recipe: Recipe,
) -> Metrics:
    """Sums over consecutive batches of a split in evaluation mode, as `train_chunk` takes and gives them."""

    def body(i: Array, metrics: Metrics) -> Metrics:
        batch = gather(images, labels, order, start + i, batch_size)
        return add(metrics, eval_step(state, batch, model=model, recipe=recipe)[0])

    return lax.fori_loop(0, batches, body, metrics)


def classify(
    variables: PyTree,
    images: UInt8[Array, "padded 28 28"] | Float32[Array, "padded 28 28"],
    *,
    batch_size: int,
    model: Any,
    recipe: Recipe,
) -> tuple[Int32[Array, " padded"], Float[Array, "padded 10"]]:
    """Predictions and log-probabilities of images without labels.

    There are a whole number of batches of `batch_size` of them, or fewer than one.
    """

    def outputs_of(batch: Array) -> Array:
        return model.apply(variables, normalise(batch, recipe))

    batches = images.reshape(-1, min(batch_size, len(images)), *images.shape[1:])
    outputs = lax.map(outputs_of, batches)
    outputs = outputs.reshape(len(images), -1)
    # The prediction from the outputs, as in training: log-softmax can round two scores to one.
    return outputs.argmax(1).astype(jnp.int32), jax.nn.log_softmax(outputs)


def _select(condition: Bool[Array, ""], one: PyTree, other: PyTree) -> PyTree:
    return jax.tree.map(partial(jnp.where, condition), one, other)
