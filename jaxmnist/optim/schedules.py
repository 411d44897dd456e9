"""Learning rates as the last part of an optimizer's chain: constant or scheduled by step."""

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
    """Returns a transformation that multiplies updates by minus a constant learning rate.

    Put it last in `optax.chain`.

    Raises:
        UsageError: `lr` is not traced and negative or not finite.
    """
    lr = number("lr", lr)
    return optax.GradientTransformation(lambda params: ConstantRateState(jnp.array(lr, jnp.float32)), descend)


def scheduled_rate(
    lr: ScalarLike, schedule: Schedule, total_steps: int | None, epochs: int = 1
) -> optax.GradientTransformation:
    """Returns a transformation that multiplies updates by minus a scheduled learning rate.

    Put it last in `optax.chain`.

    Args:
        lr: highest rate; may be traced.
        schedule: course of the rate.
        total_steps: number of steps of the training. Without it a state can be made, for its shape, but an update
            raises a ValueError.
        epochs: number of epochs of the training, for the kind `step`.

    Raises:
        UsageError: `lr` is not traced and negative or not finite.
    """
    lr = number("lr", lr)
    share = shares(schedule, total_steps or 1, epochs)

    def init(params: optax.Params) -> ScheduledRateState:
        del params
        return ScheduledRateState(jnp.asarray(lr * share(jnp.int32(0)), jnp.float32), jnp.array(0, jnp.int32))

    def update(updates, state, params=None):
        if total_steps is None:
            raise ValueError("a scheduled update needs total_steps, the number of steps of the training")
        rate = jnp.asarray(lr * share(state.steps), jnp.float32)
        state = ScheduledRateState(rate, state.steps + 1)
        return descend(updates, state, params)

    return optax.GradientTransformation(init, update)


def shares(
    schedule: Schedule, total_steps: int, epochs: int = 1
) -> Callable[[Int32[Array, ""]], Float32[Array, ""]]:
    """Returns a function from the number of a step, from 0, to its share of the highest rate."""
    if schedule.kind == "step":
        steps = max(schedule.every * total_steps // epochs, 1)
        return lambda step: jnp.float32(schedule.factor) ** (step // steps).astype(jnp.float32)
    warm_up = round(schedule.warm_up * total_steps)
    end = 0.0 if schedule.end_divisor is None else 1 / schedule.end_divisor
    first = 1 / schedule.start_divisor if warm_up else 1.0
    turns = {warm_up: schedule.start_divisor} if warm_up else {}
    # A warm-up of nearly all steps leaves no room for the fall.
    turns = {step: scale for step, scale in turns.items() if step < total_steps} | {total_steps: end}
    shape = "cosine" if schedule.kind == "one_cycle" else "linear"
    interpolated = optax.piecewise_interpolate_schedule(shape, first, turns)

    def share(step: Int32[Array, ""]) -> Float32[Array, ""]:
        # Optax mixes dtypes.
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            return jnp.asarray(interpolated(step), jnp.float32)

    return share


class ConstantRateState(NamedTuple):
    """State of `constant_rate`."""

    learning_rate: Float32[Array, ""]


class ScheduledRateState(NamedTuple):
    """State of `scheduled_rate`."""

    learning_rate: Float32[Array, ""]
    """Rate of the last step, or of the first before any step."""
    steps: Int32[Array, ""]
    """Number of steps taken."""


def descend(updates, state, params=None):
    """Multiplies updates by minus the learning rate in the state, which stays as it is; an Optax `update`."""
    del params
    return jax.tree.map(lambda update: -state.learning_rate.astype(update.dtype) * update, updates), state


def number(name: str, value: ScalarLike, below: float = math.inf, whole: bool = False) -> float | Array:
    """Returns a traced value as it is, any other as a float; raises UsageError if it is out of range."""
    if isinstance(value, Tracer):
        return value
    number = np.asarray(value, np.float64).item()
    holds = 0 <= number < below and (number.is_integer() or not whole)
    require(name, value, holds, f"a {'whole ' * whole}number of at least 0 and below {below:g}")
    return number


def require(name: str, value: object, holds: bool, wanted: str) -> None:
    """Raises UsageError about a value of a schedule unless a condition holds."""
    if not holds:
        raise UsageError(f"the learning-rate schedule has {name}={value!r}, which must be {wanted}.")
