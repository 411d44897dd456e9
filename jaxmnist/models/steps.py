"""The step family: from plain convolutions to a small network with normalisation; biases everywhere.

The second and third step are one network, `Step3`, trained by different recipes.
"""

from functools import partial

import flax.linen as nn
from jaxtyping import Array, Float

from jaxmnist import ops
from jaxmnist.models.layers import Activation, Conv, Dropout, GlobalAverage, MaxPool, class_scores, conv_block

_block = partial(conv_block, order="activation, norm", use_bias=True)


class Step1(nn.Module):
    """257,354 parameters, no normalisation; returns log-probabilities."""

    dropout: float = 0.0
    """After each activation; the source has none."""

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "batch 28 28 1"],
        train: bool = False,
        mask: Float[Array, " batch"] | None = None,
    ) -> Float[Array, "batch 10"]:
        def layer(x: Array, name: str, features: int) -> Array:
            x = Activation(nn.relu)(Conv(features, padding=1, use_bias=True, name=name)(x))
            return Dropout(self.dropout)(x, train=train) if self.dropout else x

        x = ops.to_batch_minor(images)
        x = layer(x, "conv1", 8)
        x = layer(x, "conv2", 16)
        x = layer(x, "conv3", 32)
        x = layer(x, "conv4", 64)
        x = MaxPool()(x)
        x = layer(x, "conv5", 128)
        x = layer(x, "conv6", 128)
        x = MaxPool()(x)
        x = GlobalAverage()(Conv(10, use_bias=True, name="head")(x))
        return nn.log_softmax(class_scores(x))


class Step3(nn.Module):
    """7,216 parameters; returns log-probabilities."""

    dropout: float = 0.05

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "batch 28 28 1"],
        train: bool = False,
        mask: Float[Array, " batch"] | None = None,
    ) -> Float[Array, "batch 10"]:
        block = partial(_block, dropout=self.dropout, train=train, mask=mask)
        x = ops.to_batch_minor(images)
        x = block(x, "conv1", 8, padding=1)
        x = block(x, "conv2", 12, padding=1)
        x = Conv(6, kernel_size=1, use_bias=True, name="trans1")(x)
        x = MaxPool()(x)
        x = block(x, "conv3", 12)
        x = block(x, "conv4", 12)
        x = block(x, "conv5", 12, padding=1)
        x = MaxPool()(x)
        x = block(x, "conv6", 12)
        x = block(x, "conv7", 12, padding=1)
        x = Conv(10, kernel_size=1, use_bias=True, name="head")(GlobalAverage()(x))
        return nn.log_softmax(class_scores(x))
