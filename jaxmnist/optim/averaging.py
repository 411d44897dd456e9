"""Averages of weights over the steps of a training."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int32, PyTree

from jaxmnist.config import Averaging


def moved_average(average: PyTree, variables: PyTree, step: Int32[Array, ""], averaging: Averaging) -> PyTree:
    """The average after a step: an exponential moving average that is warmed up.

    It keeps min(decay, (1 + n) / (10 + n)) of itself in the step with n averaged ones before it, as TensorFlow's
    `ExponentialMovingAverage` does with `num_updates`; before the first one, nothing.

    Args:
        average: before the step; running statistics are averaged as weights are.
        variables: what the step left.
        step: number of the step, counted from the first that is averaged; negative before that.
        averaging: the recipe's.
    """
    n = jnp.maximum(step, 0).astype(jnp.float32)
    kept = jnp.where(step < 0, 0.0, jnp.minimum(jnp.float32(averaging.decay), (1 + n) / (10 + n)))
    return jax.tree.map(lambda mean, value: value + kept * (mean - value), average, variables)
