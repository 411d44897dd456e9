"""The `dilated` network: dilated convolutions after the only pooling, and no classifier layer."""

from functools import partial

import flax.linen as nn
from jaxtyping import Array

from jaxmnist.models.layers import Block, ConvNet, GlobalAverage, MaxPool, class_scores


class Dilated(ConvNet):
    """5,340 parameters, receptive field 32 before the average; returns log-probabilities.

    The class scores are means of values after ReLU and dropout, so they are never negative.
    """

    dropout: float = 0.03

    def forward(self, x: Array, block: Block) -> Array:
        block = partial(block, order="norm, activation")
        x = block(x, "conv1", 10)
        x = block(x, "conv2", 10)
        x = block(x, "conv3", 15)
        x = MaxPool()(x)
        x = block(x, "trans1", 10, kernel_size=1)
        x = block(x, "conv4", 10, padding=1, dilation=2)
        x = block(x, "conv5", 10, padding=1, dilation=2)
        x = block(x, "conv6", self.num_classes, padding=1, dilation=2)
        return nn.log_softmax(class_scores(GlobalAverage()(x)))
