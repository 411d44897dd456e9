"""Layers and blocks that the networks share. Feature maps are `[channels, height, width, batch]`.

Parameters carry the names and layouts of the sources' layers (`kernel` HWIO, `scale`, `bias`), whatever
order the computation uses inside.
"""

from collections.abc import Callable
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxmnist import ops

# Channels, height, width, batch: a layer may change all but the last.
FeatureMap = Float[Array, "_ _ _ batch"]
Activation = Callable[[Array], Array]


class Conv(nn.Module):
    """Convolution with stride 1 and zero padding.

    Weights (and biases) start uniform within 1 / sqrt(fan-in), the source framework's default.
    """

    features: int
    kernel_size: int = 3
    padding: int = 0
    dilation: int = 1
    use_bias: bool = False

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        shape = (self.kernel_size, self.kernel_size, x.shape[0], self.features)
        bound = float(np.prod(shape[:3])) ** -0.5
        kernel = self.param("kernel", _uniform_within(bound), shape)
        y: Any = ops.conv2d(x, kernel, self.padding, self.dilation)
        if self.use_bias:
            y = y + self.param("bias", _uniform_within(bound), (self.features,))[:, None, None, None]
        return y


class BatchNorm(nn.Module):
    """Batch normalisation with the sources' statistics.

    A training batch is normalised with its biased variance, the running variance takes the unbiased one
    (`flax.linen.BatchNorm` takes the biased one). Images whose `mask` is 0 count nowhere.
    """

    decay: float = 0.9
    epsilon: float = 1e-5

    @nn.compact
    def __call__(
        self, x: FeatureMap, *, train: bool = False, mask: Float[Array, " batch"] | None = None
    ) -> FeatureMap:
        channels = (x.shape[0],)
        scale = self.param("scale", nn.initializers.ones, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels)
        running_var = self.variable("batch_stats", "var", jnp.ones, channels)
        mean, var = running_mean.value, running_var.value
        if train:
            mean, var, count = ops.batch_moments(x, mask)
            if not self.is_initializing():
                unbiased = var * (count / jnp.maximum(count - 1, 1))
                running_mean.value = self.decay * running_mean.value + (1 - self.decay) * mean
                running_var.value = self.decay * running_var.value + (1 - self.decay) * unbiased
        factor = scale * jax.lax.rsqrt(var + self.epsilon)
        return (x - mean[:, None, None, None]) * factor[:, None, None, None] + bias[:, None, None, None]


class Dropout(nn.Module):
    """Element-wise dropout; kept values are divided by 1 - rate. Draws from the `dropout` stream."""

    rate: float

    @nn.compact
    def __call__(self, x: FeatureMap, *, train: bool = False) -> FeatureMap:
        if not train or self.rate == 0.0:
            return x
        words = ops.random_words(self.make_rng("dropout"), x.shape)
        kept = words >= np.uint32(round(self.rate * 2**32))
        return jnp.where(kept, x * (1 / (1 - self.rate)), 0.0)


def conv_block(
    x: FeatureMap,
    index: int,
    features: int,
    *,
    order: Literal["activation, norm", "norm, activation"],
    activation: Activation,
    dropout: float,
    train: bool,
    mask: Float[Array, " batch"] | None,
    padding: int = 0,
    dilation: int = 1,
    use_bias: bool = False,
) -> FeatureMap:
    """`conv<index>` and `bn<index>` with activation and dropout, in the calling module's own scope.

    Args:
        order: what follows the convolution first; dropout always comes last.
    """
    norm = BatchNorm(name=f"bn{index}")
    x = Conv(features, padding=padding, dilation=dilation, use_bias=use_bias, name=f"conv{index}")(x)
    if order == "activation, norm":
        x = norm(activation(x), train=train, mask=mask)
    else:
        x = activation(norm(x, train=train, mask=mask))
    return Dropout(dropout)(x, train=train)


def gelu(x: FeatureMap) -> FeatureMap:
    """Exact GELU, x * Phi(x) with the error function; the tanh form differs by up to 5e-4."""
    return 0.5 * x * (1 + jax.lax.erf(x * np.float32(0.5**0.5)))


def global_average(x: Float[Array, "c h w batch"]) -> Float[Array, "c 1 1 batch"]:
    """Mean over the whole map."""
    return x.mean((1, 2), keepdims=True)


def class_scores(x: Float[Array, "classes 1 1 batch"]) -> Float[Array, "batch classes"]:
    """A 1x1 map with a channel for each class, in the public order."""
    return x[:, 0, 0].T


def _uniform_within(bound: float) -> Callable[..., Array]:
    def init(key: Array, shape: tuple[int, ...]) -> Array:
        # 24 bits are all that a float32 in [0, 1) holds.
        share = (ops.random_words(key, shape) >> 8).astype(jnp.float32) * 2.0**-24
        return bound * (2 * share - 1)

    return init
