"""The first family: `first`, `second` and `third`.

All aim at 99.4 % with few parameters: activation before normalisation, a 1x1 convolution that narrows the map before
the only pooling, and a global average in place of dense layers.
"""

from functools import partial

import flax.linen as nn
from jaxtyping import Array

from jaxmnist import ops
from jaxmnist.models.layers import (
    Add,
    Attention,
    Block,
    Conv,
    ConvNet,
    GlobalAverage,
    MaxPool,
    Resize,
    class_scores,
)


class First(ConvNet):
    """13,808 parameters, receptive field 32; returns log-probabilities."""

    dropout: float = 0.03

    def forward(self, x: Array, block: Block) -> Array:
        block = partial(block, order="activation, norm")
        x = block(x, "conv1", 16)
        x = block(x, "conv2", 32)
        x = Conv(10, kernel_size=1, name="trans1")(x)
        x = MaxPool()(x)
        x = block(x, "conv3", 16)
        x = block(x, "conv4", 16)
        x = block(x, "conv5", 16)
        x = block(x, "conv6", 16, padding=1)
        x = Conv(self.num_classes, kernel_size=1, name="head")(GlobalAverage()(x))
        return nn.log_softmax(class_scores(x))


class Second(ConvNet):
    """5,048 parameters, the smallest of the family; returns log-probabilities."""

    dropout: float = 0.1

    def forward(self, x: Array, block: Block) -> Array:
        block = partial(block, order="activation, norm")
        x = block(x, "conv1", 8)
        x = block(x, "conv2", 16)
        x = Conv(8, kernel_size=1, name="trans1")(x)
        x = MaxPool()(x)
        x = block(x, "conv3", 12)
        x = block(x, "conv4", 12)
        x = block(x, "conv5", 12, padding=1)
        x = Conv(self.num_classes, kernel_size=1, name="head")(GlobalAverage()(x))
        return nn.log_softmax(class_scores(x))


class Third(ConvNet):
    """7,902 parameters: two skip connections, exact GELU and attention; returns log-probabilities."""

    dropout: float = 0.03

    def forward(self, x: Array, block: Block) -> Array:
        block = partial(block, order="activation, norm", activation=ops.gelu)
        x = block(x, "conv1", 10)
        x = block(x, "conv2", 14)
        x = Conv(10, kernel_size=1, name="trans1")(x)
        pooled = MaxPool()(x)
        x = block(pooled, "conv3", 14)
        joined = Add()(x, Conv(14, kernel_size=1, name="skip1")(Resize(10)(pooled)))
        x = block(joined, "conv4", 14)
        x = block(x, "conv5", 12)
        x = Add()(x, Conv(12, kernel_size=1, name="skip2")(Resize(6)(joined)))
        x = block(x, "conv6", 12, padding=1)
        x = Attention()(GlobalAverage()(x))
        x = Conv(self.num_classes, kernel_size=1, name="head")(x)
        return nn.log_softmax(class_scores(x))
