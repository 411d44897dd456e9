"""The training step and the evaluation step: a state and a batch in, a state and sums out."""

from functools import partial

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Bool, Float, Float32, Int32, Key, PyTree, UInt8

from jaxmnist import ops
from jaxmnist.augment import augment, normalise, strength_at
from jaxmnist.augment.views import scores
from jaxmnist.config import Recipe
from jaxmnist.models import Model
from jaxmnist.optim import moments
from jaxmnist.optim.averaging import moved_average
from jaxmnist.runtime.parts import total
from jaxmnist.train.batch import Batch
from jaxmnist.train.loss import NO_BAD_STEP, Metrics, Teacher, distilled, no_metrics, smoothed, sums_of
from jaxmnist.train.state import TrainState

MOST_BAD_STEPS = 10
"""This many consecutive skipped steps count as divergence."""


def train_step(
    state: TrainState,
    batch: Batch,
    *,
    key: Key[Array, ""],
    model: Model,
    optimizer: optax.GradientTransformation,
    recipe: Recipe,
    draw: Int32[Array, ""] | None = None,
    total_steps: int | None = None,
    teacher: Teacher | None = None,
) -> tuple[TrainState, Metrics]:
    """Takes one step: augment, normalise, differentiate, update.

    A step with a loss, gradient, weight or running statistic that is not finite is skipped: it is counted and changes
    nothing else.

    Args:
        state: the state before the step.
        batch: raw images; the loss is the mean over those with mask 1, at least one.
        key: the run's `Keys.step`; random draws depend on it and on `draw` only.
        model: the network.
        optimizer: the optimizer that `jaxmnist.optim.make_optimizer` makes for the recipe.
        recipe: augmentation, normalisation, label smoothing, averaging and distillation.
        draw: number of the draws; by default `state.step`. Steps with equal numbers repeat their draws.
        total_steps: steps of the whole training, see `Recipe.total_steps`. Required if the recipe's augmentation
            fades or its averaging begins late.
        teacher: the trained network that the recipe's distillation names.

    Returns:
        The state after the step, and the sums over the batch as the network saw it, before the update.

    Raises:
        ValueError: the recipe needs a teacher or the number of steps, which is missing.
    """
    augment_key, dropout_key = jax.random.split(jax.random.fold_in(key, state.step if draw is None else draw))
    strength = strength_at(recipe.augmentation, state.step, total_steps)
    augmented = augment(augment_key, batch.images, recipe.augmentation, strength)
    images = _placed(normalise(augmented, recipe), recipe)
    if recipe.distillation is not None and teacher is None:
        raise ValueError("a recipe with distillation needs its teacher")
    teachers = None if teacher is None else teacher.outputs(augmented)

    images_in_all = total(batch.mask.sum())

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
        return objective / images_in_all, (metrics, updated.get("batch_stats", {}))

    with ops.products_in(recipe.precision):
        gradients, (metrics, batch_stats) = jax.grad(mean_loss, has_aux=True)(state.params)
    gradients, sums = total((gradients, metrics[:3]))
    metrics = Metrics(*sums, *metrics[3:])
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    changed = TrainState(state.step + 1, params, batch_stats, opt_state, jnp.int32(0), state.average)
    # Without the barrier the guard is fused with the update, which then rounds differently.
    changed, metrics = lax.optimization_barrier((changed, metrics))
    # Gradients enter the moments, and moments the weights: a value that is not finite shows in one of them.
    values = (changed.params, changed.batch_stats, moments(changed.opt_state))
    # In one array: a sum for each of a hundred small ones takes longer than an optimizer's step.
    squares = jnp.square(jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(values)]))
    finite = jnp.isfinite(metrics.loss_sum) & jnp.isfinite(squares.sum())
    if recipe.averaging is not None:
        if recipe.averaging.start_epoch and total_steps is None:
            raise ValueError("an averaging with start_epoch needs total_steps")
        first = recipe.averaging.start_epoch * (total_steps or 0) // recipe.epochs
        average = moved_average(state.average, changed.last_variables, state.step - first, recipe.averaging)
        changed = changed._replace(average=average)
    skipped = state._replace(step=state.step + 1, bad_steps=state.bad_steps + 1)
    at_limit = skipped.bad_steps == MOST_BAD_STEPS
    bad_step = jnp.where(at_limit, state.step, NO_BAD_STEP)
    nothing = no_metrics()._replace(skipped=jnp.int32(1), bad_step=bad_step)
    return _select(finite, (changed, metrics), (skipped, nothing))


def outputs_of(
    model: Model,
    variables: PyTree,
    images: UInt8[Array, "batch 28 28"] | Float32[Array, "batch 28 28"],
    recipe: Recipe,
) -> Float[Array, "batch classes"]:
    """Returns the outputs for raw images in evaluation mode."""
    return scores(lambda views: model.apply(variables, _placed(views, recipe)), images, recipe)


def eval_step(
    state: TrainState, batch: Batch, *, model: Model, recipe: Recipe
) -> tuple[Metrics, Float[Array, "batch classes"]]:
    """Returns the sums over a batch in evaluation mode, and the outputs (meaningless where the mask is 0)."""
    outputs = outputs_of(model, state.variables, batch.images, recipe)
    return sums_of(outputs, batch), outputs


def _placed(images: Float[Array, "batch 28 28 1"], recipe: Recipe) -> Float[Array, "batch 28 28 1"]:
    """Puts images in memory as the first convolution reads them, behind the loops of `jaxmnist.augment.moments`."""
    return ops.batch_innermost(images) if recipe.deskew or recipe.rescale else images


def _select(condition: Bool[Array, ""], one: PyTree, other: PyTree) -> PyTree:
    return jax.tree.map(partial(jnp.where, condition), one, other)
