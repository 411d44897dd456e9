"""Learning rates as the last part of an optimizer's chain: constant, or a function of the step."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer
from jaxtyping import Array, Float32, Int32, ScalarLike

from jaxmnist.config import Schedule
from jaxmnist.errors import UsageError


def constant_rate(lr: ScalarLike) -> optax.GradientTransformation:
    """Multiplies updates by minus a learning rate that never changes; put it last in `optax.chain`.

    Raises:
        UsageError: `lr` is not traced and negative or not finite.
    """
    lr = number("lr", lr)
    return optax.GradientTransformation(lambda params: ConstantRateState(jnp.array(lr, jnp.float32)), descend)


def scheduled_rate(
    lr: ScalarLike, schedule: Schedule, total_steps: int | None
) -> optax.GradientTransformation:
    """Multiplies updates by minus a learning rate that follows a schedule; put it last in `optax.chain`.

    Args:
        lr: the highest rate; may be traced.
        schedule: course of the rate.
        total_steps: of the whole training. Without it there can be a state, to learn its shape from, but no
            update.

    Raises:
        UsageError: `lr` is not traced and negative or not finite.
    """
    lr = number("lr", lr)
    share = shares(schedule, total_steps or 1)

    def init(params: optax.Params) -> ScheduledRateState:
        del params
        return ScheduledRateState(jnp.asarray(lr * share(jnp.int32(0)), jnp.float32), jnp.array(0, jnp.int32))

    def update(updates, state, params=None):
        if total_steps is None:
            raise ValueError("an update by a schedule needs to know the number of all steps")
        rate = jnp.asarray(lr * share(state.steps), jnp.float32)
        state = ScheduledRateState(rate, state.steps + 1)
        return descend(updates, state, params)

    return optax.GradientTransformation(init, update)


def shares(schedule: Schedule, total_steps: int) -> Callable[[Int32[Array, ""]], Float32[Array, ""]]:
    """Share of the highest rate that each step has, by its number from 0."""
    warm_up = round(schedule.warm_up * total_steps)
    end = 0.0 if schedule.end_divisor is None else 1 / schedule.end_divisor
    first = 1 / schedule.start_divisor if warm_up else 1.0
    turns = {warm_up: schedule.start_divisor} if warm_up else {}
    # With a warm-up of all steps but a part of one there is no room for the fall.
    turns = {step: scale for step, scale in turns.items() if step < total_steps} | {total_steps: end}
    shape = "cosine" if schedule.kind == "one_cycle" else "linear"
    interpolated = optax.piecewise_interpolate_schedule(shape, first, turns)

    def share(step: Int32[Array, ""]) -> Float32[Array, ""]:
        # Optax mixes types.
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            return jnp.asarray(interpolated(step), jnp.float32)

    return share


class ConstantRateState(NamedTuple):
    """State of `constant_rate`."""

    learning_rate: Float32[Array, ""]


class ScheduledRateState(NamedTuple):
    """State of `scheduled_rate`."""

    learning_rate: Float32[Array, ""]
    """Of the last step taken; before one, of the first."""
    steps: Int32[Array, ""]
    """Steps taken."""


def descend(updates, state, params=None):
    """The `update` of every rate that a step does not change: updates times minus the rate in the state."""
    del params
    return jax.tree.map(lambda update: -state.learning_rate.astype(update.dtype) * update, updates), state


def number(name: str, value: ScalarLike, below: float = math.inf, whole: bool = False) -> float | Array:
    """The value as it is if traced, otherwise checked and in float64."""
    if isinstance(value, Tracer):
        return value
    number = np.asarray(value, np.float64).item()
    holds = 0 <= number < below and (number.is_integer() or not whole)
    require(name, value, holds, f"a {'whole ' * whole}number of at least 0 and below {below:g}")
    return number


def require(name: str, value: object, holds: bool, wanted: str) -> None:
    """Raises a UsageError about a value of a schedule unless something holds."""
    if not holds:
        raise UsageError(f"the learning-rate schedule has {name}={value!r}, which must be {wanted}.")
