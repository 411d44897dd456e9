"""Optimizers: a recipe becomes an Optax transformation that carries its learning rate in its state.

The rate is applied last, outside the momentum buffer (v = m v + g; w = w - lr v); in the state, it needs no
new compilation when it changes, and runs with rates of their own fit side by side under `jax.vmap`.
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
    """The recipe's optimizer: at a constant rate, with plateau cuts or by a schedule. Its steps equal those of
    `torch.optim`.

    Args:
        recipe: what decides.
        total_steps: of the whole training, see `Recipe.total_steps`; a recipe with a schedule needs it to update.
        learning_rate, weight_decay: instead of the recipe's; may be traced.

    Raises:
        UsageError: a value of the recipe is out of range.
    """
    plateau = recipe.plateau
    lr = recipe.learning_rate if learning_rate is None else learning_rate
    if recipe.schedule is not None:
        rate = scheduled_rate(lr, recipe.schedule, total_steps)
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
    share: Any = recipe.weight_decay if weight_decay is None else weight_decay
    # A traced decay is applied even if it is zero, which cannot be seen.
    decays = isinstance(share, Tracer) or share
    mask = _kernels if recipe.decay_on == "kernels" else None
    decay = optax.add_decayed_weights(share, mask) if decays else optax.identity()
    if recipe.optimizer == "sgd":
        return optax.chain(decay, optax.trace(recipe.momentum, recipe.nesterov), rate)
    moments = optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8)
    # L2 decay is part of the gradient, decoupled decay joins after the moments.
    order = (decay, moments) if recipe.optimizer == "adam" else (moments, decay)
    return optax.chain(*order, rate)


def learning_rate(opt_state: PyTree) -> Float32[Array, "..."]:
    """The learning rate now in force: one number, or one per run in a state stacked by `jax.vmap`.

    Raises:
        UsageError: `opt_state` does not hold exactly one rate of this module.
    """
    nodes = jax.tree.leaves(opt_state, is_leaf=_is_rate_state)
    rates = [node.learning_rate for node in nodes if _is_rate_state(node)]
    if len(rates) != 1:
        raise UsageError(
            f"the optimizer state holds {len(rates)} learning rates where one is expected; "
            "end the optimizer's chain with one reduce_on_plateau, scheduled_rate or constant_rate."
        )
    return rates[0]


def moments(opt_state: PyTree) -> list[Array]:
    """What an optimizer remembers of gradients: its state without counts, and without learning rates."""
    nodes = jax.tree.leaves(opt_state, is_leaf=_is_rate_state)
    return [leaf for leaf in nodes if not _is_rate_state(leaf) and jnp.issubdtype(leaf.dtype, jnp.floating)]


def _kernels(params: PyTree) -> PyTree:
    """Which parameters are kernels: of convolutions and linear layers, by their name."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)


def _is_rate_state(node: object) -> bool:
    return isinstance(node, ConstantRateState | ScheduledRateState | PlateauState)
