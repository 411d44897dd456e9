"""Batch normalisation in training, with its gradient written out.

Feature maps are `[channels, height, width, batch]`, see `jaxmnist.ops`.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxmnist.runtime.parts import count_parts, gather_parts, total


class Moments(NamedTuple):
    """Statistics of each channel over the images whose mask is 1."""

    mean: Float[Array, " c"]
    variance: Float[Array, " c"]
    """Biased: divided by `values`."""
    values: Float[Array, ""]
    """Number of values behind each mean."""


def batch_norm(
    x: Float[Array, "c h w batch"],
    scale: Float[Array, " c"],
    bias: Float[Array, " c"],
    mask: Float[Array, " batch"] | None,
    epsilon: float,
) -> tuple[Float[Array, "c h w batch"], Moments]:
    """Normalises each channel to mean 0 and variance 1, multiplies by `scale` and adds `bias`.

    Automatic differentiation passes over the map once for each path from a value to the result; the sum of these
    paths is short. The gradient below saves a tenth of the training step of `third`.

    Args:
        x: feature map.
        scale: factor of each channel.
        bias: summand of each channel.
        mask: 1 for images that enter the statistics, 0 for padding; None takes all images.
        epsilon: added to the variance.

    Returns:
        The normalised map, padding included, and the statistics, through which no gradient flows.
    """
    result: Any = _batch_norm(x, scale, bias, mask, epsilon)  # the decorator hides the type
    return result


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def _batch_norm(x, scale, bias, mask, epsilon):
    return _forward(x, scale, bias, mask, epsilon)[0]


def _forward(x, scale, bias, mask, epsilon):
    moments = _moments(x, mask)
    rate = lax.rsqrt(moments.variance + epsilon)
    y = (x - _per_channel(moments.mean)) * _per_channel(scale * rate) + _per_channel(bias)
    return (y, moments), (x, moments, rate, scale, mask)


def _backward(epsilon, residuals, gradients):
    del epsilon
    x, moments, rate, scale, mask = residuals
    # Computed once, not in each of the three loops below.
    dy = lax.optimization_barrier(gradients[0])
    centred = x - _per_channel(moments.mean)
    d_bias = dy.sum((1, 2)).sum(1)
    d_scale = (dy * centred).sum((1, 2)).sum(1) * rate
    weight = _ones_unless(mask, x) / moments.values
    # The map depends on the whole batch; the gradients returned are this part's share.
    whole_bias, whole_scale = total((d_bias, d_scale))
    shared = _per_channel(whole_bias) + centred * _per_channel(rate * whole_scale)
    dx = _per_channel(scale * rate) * (dy - shared * weight[None, None, None, :])
    return dx, d_scale, d_bias, None if mask is None else jnp.zeros_like(mask)


_batch_norm.defvjp(_forward, _backward)


def _moments(x, mask):
    height, width = x.shape[1:3]
    weight = _ones_unless(mask, x)
    values = weight.sum() * (height * width)
    # Sums over the map first and over the batch last: the mask then costs a tiny product instead of a pass.
    mean = x.sum((1, 2)) @ weight / jnp.maximum(values, 1)
    centred = x - _per_channel(mean)
    squares = (centred * centred).sum((1, 2)) @ weight
    if count_parts() == 1:
        return Moments(mean, squares / values, values)
    return _merged(mean, squares, values)


def _merged(mean, squares, values):
    """Statistics of the whole batch from those of its parts, by one collective.

    Source: Chan, Golub and LeVeque, Algorithms for computing the sample variance, 1983, equation 2.1.
    """
    means, squares, values = gather_parts((mean, squares, values))
    whole = values.sum()
    mean = values @ means / whole
    return Moments(mean, (squares.sum(0) + values @ (means - mean[None]) ** 2) / whole, whole)


def _ones_unless(mask, x):
    return jnp.ones(x.shape[3], x.dtype) if mask is None else mask


def _per_channel(values):
    return values[:, None, None, None]
