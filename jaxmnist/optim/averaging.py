"""Exponential moving average of the weights."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int32, PyTree

from jaxmnist.config import Averaging


def moved_average(average: PyTree, variables: PyTree, step: Int32[Array, ""], averaging: Averaging) -> PyTree:
    """Updates an exponential moving average with the variables after a step.

    The decay is warmed up: after n averaged steps it is min(decay, (1 + n) / (10 + n)), as in TensorFlow's
    `ExponentialMovingAverage` with `num_updates`. Before the first averaged step the average equals the variables.

    Args:
        average: average before the step, of weights and running statistics alike.
        variables: variables after the step.
        step: number of the step, counted from the first averaged one; negative before it.
        averaging: decay of the recipe.
    """
    n = jnp.maximum(step, 0).astype(jnp.float32)
    kept = jnp.where(step < 0, 0.0, jnp.minimum(jnp.float32(averaging.decay), (1 + n) / (10 + n)))
    return jax.tree.map(lambda mean, value: value + kept * (mean - value), average, variables)
