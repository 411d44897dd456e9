"""Optimizers: Optax transformations that carry the learning rate in their state.

The rate is applied last, outside the momentum buffer (v = m v + g; w = w - lr v). As part of the state it changes
without a new compilation, and runs with different rates fit side by side under `jax.vmap`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer
from jaxtyping import Array, Float32, PyTree, ScalarLike

from jaxmnist.config import Recipe
from jaxmnist.errors import UsageError
from jaxmnist.optim.plateau import PlateauState, observe, reduce_on_plateau
from jaxmnist.optim.schedules import (
    ConstantRateState,
    ScheduledRateState,
    constant_rate,
    require,
    scheduled_rate,
)

__all__ = [
    "at_learning_rate",
    "constant_rate",
    "learning_rate",
    "make_optimizer",
    "moments",
    "observe",
    "reduce_on_plateau",
    "scheduled_rate",
]


def make_optimizer(
    recipe: Recipe,
    *,
    total_steps: int | None = None,
    learning_rate: ScalarLike | None = None,
    weight_decay: ScalarLike | None = None,
) -> optax.GradientTransformation:
    """Makes a recipe's optimizer: at a constant rate, with plateau cuts or by a schedule.

    Its steps equal those of `torch.optim`.

    Args:
        recipe: optimizer, momentum, schedule and decay.
        total_steps: number of steps of the training, see `Recipe.total_steps`; required for updates by a schedule.
        learning_rate: replaces the recipe's; may be traced.
        weight_decay: replaces the recipe's; may be traced.

    Raises:
        UsageError: a value of the recipe is out of range.
    """
    plateau = recipe.plateau
    lr = recipe.learning_rate if learning_rate is None else learning_rate
    if recipe.schedule is not None:
        rate = scheduled_rate(lr, recipe.schedule, total_steps, recipe.epochs)
    elif plateau is None:
        rate = constant_rate(lr)
    else:
        require("monitor", plateau.monitor, plateau.monitor in ("loss", "accuracy"), "'loss' or 'accuracy'")
        rate = reduce_on_plateau(
            lr,
            mode="min" if plateau.monitor == "loss" else "max",
            factor=plateau.factor,
            patience=plateau.patience,
            threshold=plateau.threshold,
            min_lr=plateau.min_lr,
        )
    rate_of_decay: Any = recipe.weight_decay if weight_decay is None else weight_decay
    mask = _kernels if recipe.decay_on == "kernels" else None
    # The value of a traced decay is unknown, so it is applied even if it is zero.
    decays = isinstance(rate_of_decay, Tracer) or rate_of_decay
    decay = optax.add_decayed_weights(rate_of_decay, mask) if decays else optax.identity()
    if recipe.optimizer == "sgd":
        return optax.chain(decay, optax.trace(recipe.momentum, recipe.nesterov), rate)
    moments = optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8)
    # L2 decay is part of the gradient; decoupled decay is added after the moments.
    order = (decay, moments) if recipe.optimizer == "adam" else (moments, decay)
    return optax.chain(*order, rate)


def learning_rate(opt_state: PyTree) -> Float32[Array, "..."]:
    """Returns the current learning rate: one number, or one per run in a state stacked by `jax.vmap`.

    Raises:
        UsageError: `opt_state` does not hold exactly one rate of this module.
    """
    nodes = jax.tree.leaves(opt_state, is_leaf=_is_rate_state)
    rates = [node.learning_rate for node in nodes if _is_rate_state(node)]
    if len(rates) != 1:
        raise UsageError(
            f"the optimizer state holds {len(rates)} learning rates instead of one; "
            "end the optimizer's chain with one reduce_on_plateau, scheduled_rate or constant_rate."
        )
    return rates[0]


def at_learning_rate(opt_state: PyTree, rate: Float32[Array, ""]) -> PyTree:
    """Returns an optimizer state with another learning rate, which counts unless there is a schedule."""
    return jax.tree.map(
        lambda node: node._replace(learning_rate=rate) if _is_rate_state(node) else node,
        opt_state,
        is_leaf=_is_rate_state,
    )


def moments(opt_state: PyTree) -> list[Array]:
    """Returns the moments of gradients: the optimizer state without step counts and learning rates."""
    nodes = jax.tree.leaves(opt_state, is_leaf=_is_rate_state)
    return [leaf for leaf in nodes if not _is_rate_state(leaf) and jnp.issubdtype(leaf.dtype, jnp.floating)]


def _kernels(params: PyTree) -> PyTree:
    """Mask of the parameters named `kernel`, those of convolutions and linear layers."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)


def _is_rate_state(node: object) -> bool:
    return isinstance(node, ConstantRateState | ScheduledRateState | PlateauState)
