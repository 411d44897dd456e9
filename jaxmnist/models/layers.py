"""Layers and blocks shared by the networks. Feature maps are `[channels, height, width, batch]`.

Parameters have the names and layouts of the sources' layers (`kernel` HWIO, `scale`, `bias`), independent of the order
of axes in the computation.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from jaxmnist import ops
from jaxmnist.data.dataset import NUM_CLASSES
from jaxmnist.errors import unknown_name

# Channels, height, width, batch: a layer may change all but the last.
FeatureMap = Float[Array, "_ _ _ batch"]

Rate = int | float | Array
"""Rate of a dropout; may be traced."""

Norm = Literal["batch", "layer", "group"]
_GROUPS = {"layer": 1, "group": 2}

_ONES, _SLOPE, _SQUARE = np.ones(3), np.array([-1, 0, 1]), np.array([1, -2, 1]) / 3
BANK = np.array(
    [
        [np.outer(_ONES, _ONES) / 3, np.outer(_ONES, _SLOPE) / 6**0.5],
        [np.outer(_SLOPE, _ONES) / 6**0.5, (np.outer(_ONES, _SQUARE) + np.outer(_SQUARE, _ONES)) / 2],
    ],
    np.float32,
)
"""Four 3x3 filters, `[2, 2, 3, 3]`: the mean, the slopes along x and along y, and a spot. They are orthonormal."""


class Conv(nn.Module):
    """Convolution with stride 1 and zero padding.

    Initial weights and biases are uniform within 1 / sqrt(fan-in), the source framework's default.

    With `mixes` each 3x3 kernel is a mixture of the four filters of `BANK`. The parameter `kernel` then holds their
    shares, `[2, 2, in, out]`: four trained numbers instead of nine.
    """

    features: int
    kernel_size: int = 3
    padding: int = 0
    dilation: int = 1
    use_bias: bool = False
    mixes: bool = False

    @nn.compact
    def __call__(self, x: FeatureMap) -> FeatureMap:
        side = 2 if self.mixes else self.kernel_size
        shape = (side, side, x.shape[0], self.features)
        bound = float(np.prod(shape[:3])) ** -0.5
        kernel = self.param("kernel", _uniform_within(bound), shape)
        if self.mixes:
            kernel = jnp.einsum("abhw,abio->hwio", BANK, kernel)
        y: Any = ops.conv2d(x, kernel, self.padding, self.dilation, ops.factors())
        if self.use_bias:
            y = y + self.param("bias", _uniform_within(bound), (self.features,))[:, None, None, None]
        return y


class Dense(nn.Module):
    """Linear layer without a bias on `[batch, features]`; initial weights as in `Conv`."""

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "batch _"]) -> Float[Array, "batch _"]:
        shape = (x.shape[1], self.features)
        kernel = self.param("kernel", _uniform_within(float(shape[0]) ** -0.5), shape)
        x, kernel = ops.as_factors(ops.factors(), x, kernel)
        return x @ kernel


class BatchNorm(nn.Module):
    """Batch normalisation with the sources' statistics.

    A training batch is normalised with its biased variance; the running variance takes the unbiased one
    (`flax.linen.BatchNorm` takes the biased one). Images with mask 0 do not count.
    """

    decay: float = 0.9
    epsilon: float = 1e-5

    @nn.compact
    def __call__(
        self, x: FeatureMap, *, train: bool = False, mask: Float[Array, " batch"] | None = None
    ) -> FeatureMap:
        channels = (x.shape[0],)
        scale = self.param("scale", nn.initializers.ones, channels, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, channels, jnp.float32)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels, jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, channels, jnp.float32)
        if not train:
            factor = scale * jax.lax.rsqrt(running_var.value + self.epsilon)
            centred = x - running_mean.value[:, None, None, None]
            return centred * factor[:, None, None, None] + bias[:, None, None, None]
        y, moments = ops.batch_norm(x, scale, bias, mask, self.epsilon)
        if not self.is_initializing():
            unbiased = moments.variance * (moments.values / jnp.maximum(moments.values - 1, 1))
            running_mean.value = self.decay * running_mean.value + (1 - self.decay) * moments.mean
            running_var.value = self.decay * running_var.value + (1 - self.decay) * unbiased
        return y


class GroupNorm(nn.Module):
    """Normalisation of each image over groups of its channels and all pixels; with one group, layer norm."""

    groups: int
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: Float[Array, "c h w batch"]) -> Float[Array, "c h w batch"]:
        channels = (x.shape[0],)
        scale = self.param("scale", nn.initializers.ones, channels, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, channels, jnp.float32)
        grouped = x.reshape(self.groups, -1, x.shape[3])
        mean = grouped.mean(1, keepdims=True)
        centred = grouped - mean
        normalised = centred * jax.lax.rsqrt((centred * centred).mean(1, keepdims=True) + self.epsilon)
        return normalised.reshape(x.shape) * scale[:, None, None, None] + bias[:, None, None, None]


class Dropout(nn.Module):
    """Element-wise dropout from the `dropout` stream; the remaining values are divided by 1 - rate."""

    rate: Rate

    @nn.compact
    def __call__(self, x: FeatureMap, *, train: bool = False) -> FeatureMap:
        if not train or _is_zero(self.rate):
            return x
        kept = ops.dropout_mask(self.make_rng("dropout"), x.shape, self.rate)
        return jnp.where(kept, x * (1 / (1 - self.rate)), 0.0)


class Activation(nn.Module):
    """A function of each value; a module, so that a network's layers include it."""

    function: Callable[[Array], Array]

    def __call__(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return self.function(x)


class MaxPool(nn.Module):
    """Maximum over 2x2 windows with stride 2; see `jaxmnist.ops.max_pool2`."""

    def __call__(self, x: FeatureMap) -> FeatureMap:
        return ops.max_pool2(x)


class GlobalAverage(nn.Module):
    """Mean over the whole map."""

    def __call__(self, x: Float[Array, "c h w batch"]) -> Float[Array, "c 1 1 batch"]:
        return ops.map_mean(x)


class Resize(nn.Module):
    """Nearest resize to another side; see `jaxmnist.ops.resize_nearest`."""

    size: int

    def __call__(self, x: Float[Array, "c _ _ batch"]) -> Float[Array, "c _ _ batch"]:
        return ops.resize_nearest(x, self.size)


class Add(nn.Module):
    """Sum of a map and that of a skip connection."""

    def __call__(self, x: FeatureMap, skip: FeatureMap) -> FeatureMap:
        return x + skip


class Attention(nn.Module):
    """Each channel's mean, scaled by its own sigmoid: the mean of a map that is scaled by the sigmoid of its mean."""

    def __call__(self, average: Float[Array, "c 1 1 batch"]) -> Float[Array, "c 1 1 batch"]:
        return average * jax.nn.sigmoid(average)


def conv_block(
    x: FeatureMap,
    name: str,
    features: int,
    *,
    order: Literal["activation, norm", "norm, activation"],
    activation: Callable[[Array], Array] | None = nn.relu,
    norm: Norm | None = "batch",
    dropout: Rate,
    train: bool,
    mask: Float[Array, " batch"] | None,
    kernel_size: int = 3,
    padding: int = 0,
    dilation: int = 1,
    use_bias: bool = False,
    mixes: bool = False,
) -> FeatureMap:
    """Applies a convolution with normalisation, activation and dropout, in the scope of the calling module.

    Args:
        x: feature map.
        name: name of the convolution; the normalisation of `conv1` is called `bn1`, that of `head` `head_bn`.
        features: channels of the result.
        order: order of the two steps after the convolution; dropout always comes last.
        activation: function of each value; None leaves it out.
        norm: normalisation by batch statistics, or per image over all channels or two groups of them; None
            leaves it out.
        dropout: rate of the dropout.
        train: True for a training batch.
        mask: 0 for padding.
        kernel_size: side of the kernel.
        padding: zeros added on each side of the map.
        dilation: distance between neighbouring kernel elements.
        use_bias: True to add a bias after the convolution.
        mixes: True for kernels that are mixtures of four fixed filters, see `Conv`.
    """
    norm_name = f"bn{name.removeprefix('conv')}" if name.startswith("conv") else f"{name}_bn"

    def normalise(x: FeatureMap) -> FeatureMap:
        if norm is None:
            return x
        if norm == "batch":
            return BatchNorm(name=norm_name)(x, train=train, mask=mask)
        if norm not in _GROUPS:
            raise unknown_name("norm", norm, ("batch", *_GROUPS))
        return GroupNorm(groups=_GROUPS[norm], name=norm_name)(x)

    def activate(x: FeatureMap) -> FeatureMap:
        return x if activation is None else Activation(activation)(x)

    x = Conv(features, kernel_size, padding, dilation, use_bias, mixes, name=name)(x)
    x = normalise(activate(x)) if order == "activation, norm" else activate(normalise(x))
    return x if _is_zero(dropout) else Dropout(dropout)(x, train=train)


Block = Callable[..., Array]
"""`conv_block` with the arguments filled in that are the same throughout a network."""


class ConvNet(nn.Module):
    """Base class of the networks: the common call, and the fields that all of them have."""

    dropout: Any = 0.0
    """Rate after each block, or one rate for each stage; 0 for networks without dropout in their table."""
    num_classes: int = NUM_CLASSES
    """Scores for each image; the parameter counts in the documentation are those for 10."""

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "batch 28 28 1"],
        train: bool = False,
        mask: Float[Array, " batch"] | None = None,
    ) -> Float[Array, "batch classes"]:
        """Returns log-probabilities or logits of normalised images; see `jaxmnist.models.create_model`."""
        block = partial(conv_block, dropout=self.dropout, train=train, mask=mask)
        return self.forward(ops.to_batch_minor(images), block)

    def forward(self, x: Float[Array, "1 28 28 batch"], block: Block) -> Float[Array, "batch classes"]:
        """Applies the layers of the network in their order."""
        raise NotImplementedError


def class_scores(x: Float[Array, "classes 1 1 batch"]) -> Float[Array, "batch classes"]:
    """Turns a 1x1 map with a channel for each class into scores in the public order of axes."""
    return x.squeeze((1, 2)).T


def _is_zero(rate: Rate) -> bool:
    return not isinstance(rate, Tracer) and bool(rate == 0.0)


def _uniform_within(bound: float) -> Callable[..., Array]:
    def init(key: Array, shape: tuple[int, ...]) -> Array:
        # A float32 in [0, 1) holds no more than 24 bits.
        share = (ops.random_words(key, shape) >> 8).astype(jnp.float32) * 2.0**-24
        return bound * (2 * share - 1)

    return init
