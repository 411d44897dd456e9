"""The step family: from plain convolutions to a small network with normalisation; biases everywhere.

The second and the third step are the same network, `Step3`, with different recipes.
"""

from functools import partial

import flax.linen as nn
from jaxtyping import Array

from jaxmnist.models.layers import Block, Conv, ConvNet, GlobalAverage, MaxPool, class_scores


class Step1(ConvNet):
    """257,354 parameters, no normalisation; returns log-probabilities."""

    def forward(self, x: Array, block: Block) -> Array:
        block = partial(block, order="activation, norm", norm=None, padding=1, use_bias=True)
        x = block(x, "conv1", 8)
        x = block(x, "conv2", 16)
        x = block(x, "conv3", 32)
        x = block(x, "conv4", 64)
        x = MaxPool()(x)
        x = block(x, "conv5", 128)
        x = block(x, "conv6", 128)
        x = MaxPool()(x)
        x = GlobalAverage()(Conv(self.num_classes, use_bias=True, name="head")(x))
        return nn.log_softmax(class_scores(x))


class Step3(ConvNet):
    """7,216 parameters; returns log-probabilities."""

    dropout: float = 0.05

    def forward(self, x: Array, block: Block) -> Array:
        block = partial(block, order="activation, norm", use_bias=True)
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
        x = Conv(self.num_classes, kernel_size=1, use_bias=True, name="head")(GlobalAverage()(x))
        return nn.log_softmax(class_scores(x))
