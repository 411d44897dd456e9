"""The evolution family: from a network without activations to one with a skip connection.

Three stages at 28, 14 and 7 pixels, each followed by a 1x1 convolution that narrows the map.
"""

from functools import partial

import flax.linen as nn
from jaxtyping import Array

from jaxmnist.models.layers import (
    Add,
    Block,
    Conv,
    ConvNet,
    GlobalAverage,
    MaxPool,
    Norm,
    Resize,
    class_scores,
)


class EvolutionV1(ConvNet):
    """6,536 parameters, no normalisation and no activation: only max pooling is not linear.

    Returns log-probabilities.
    """

    def forward(self, x: Array, block: Block) -> Array:
        block = partial(block, order="norm, activation", norm=None, activation=None)
        x = block(x, "conv1", 8, padding=1)
        x = block(x, "conv2", 10, padding=1)
        x = block(x, "conv3", 16, padding=1)
        x = Conv(8, kernel_size=1, name="trans1")(x)
        x = MaxPool()(x)
        x = block(x, "conv4", 8, padding=1)
        x = block(x, "conv5", 10, padding=1)
        x = block(x, "conv6", 16, padding=1)
        x = Conv(8, kernel_size=1, name="trans2")(x)
        x = MaxPool()(x)
        x = block(x, "conv7", 16, padding=1)
        x = Conv(self.num_classes, kernel_size=1, name="head")(GlobalAverage()(x))
        return nn.log_softmax(class_scores(x))


class EvolutionV2(ConvNet):
    """6,704 parameters: the layers of v1 with normalisation, ReLU and dropout; returns log-probabilities."""

    dropout: float | tuple[float, float] = (0.1, 0.05)
    """Rates of the first and the second stage, or one rate for both."""
    norm: Norm = "batch"

    def forward(self, x: Array, block: Block) -> Array:
        block = partial(block, order="norm, activation", norm=self.norm)
        first, second = self.dropout if isinstance(self.dropout, tuple) else (self.dropout,) * 2
        x = block(x, "conv1", 8, padding=1, dropout=first)
        x = block(x, "conv2", 10, padding=1, dropout=first)
        x = block(x, "conv3", 16, padding=1, dropout=first)
        x = MaxPool()(x)
        x = block(x, "trans1", 8, kernel_size=1, dropout=0.0)
        x = block(x, "conv4", 8, padding=1, dropout=second)
        x = block(x, "conv5", 10, padding=1, dropout=second)
        x = block(x, "conv6", 16, padding=1, dropout=second)
        x = MaxPool()(x)
        x = block(x, "trans2", 8, kernel_size=1, dropout=0.0)
        x = Conv(16, padding=1, name="conv7")(x)
        x = Conv(self.num_classes, kernel_size=1, name="head")(GlobalAverage()(x))
        return nn.log_softmax(class_scores(x))


class EvolutionV3(ConvNet):
    """7,820 parameters: a skip connection over the second stage; returns log-probabilities.

    The source declares dropout of 0.03 and never applies it.
    """

    norm: Norm = "batch"

    def forward(self, x: Array, block: Block) -> Array:
        block = partial(block, order="norm, activation", norm=self.norm)
        x = block(x, "conv1", 8, padding=1)
        x = block(x, "conv2", 10, padding=1)
        x = block(x, "conv3", 16, padding=1)
        x = MaxPool()(x)
        narrowed = Conv(8, kernel_size=1, name="trans1")(x)
        x = block(narrowed, "conv4", 10, padding=1)
        x = block(x, "conv5", 10, padding=1)
        x = block(x, "conv6", 12, padding=1)
        x = MaxPool()(x)
        x = Conv(8, kernel_size=1, name="trans2")(x)
        x = Add()(x, Resize(7)(narrowed))
        x = block(x, "conv7", 8, padding=1)
        x = block(x, "conv8", 10, padding=1)
        x = Conv(12, padding=1, name="conv9")(x)
        x = GlobalAverage()(Conv(self.num_classes, kernel_size=1, name="head")(x))
        return nn.log_softmax(class_scores(x))
