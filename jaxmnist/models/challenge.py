"""The challenge family: one trunk of five convolutions without padding, with three endings. All return logits."""

from functools import partial

import flax.linen as nn
from jaxtyping import Array

from jaxmnist.models.layers import (
    Activation,
    Block,
    Conv,
    ConvNet,
    Dense,
    GlobalAverage,
    MaxPool,
    class_scores,
)


def _trunk(x: Array, block: Block, widths: tuple[int, int, int, int, int]) -> Array:
    x = block(x, "conv1", widths[0])
    x = block(x, "conv2", widths[1])
    x = MaxPool()(x)
    x = block(x, "conv3", widths[2])
    x = block(x, "conv4", widths[3])
    x = MaxPool()(x)
    return block(x, "conv5", widths[4])


class ChallengeLL(ConvNet):
    """9,412 parameters: normalisation and ReLU after the 1x1 head, then two linear layers."""

    dropout: float = 0.05

    def forward(self, x: Array, block: Block) -> Array:
        block = partial(block, order="norm, activation")
        x = _trunk(x, block, (8, 8, 16, 16, 32))
        x = block(x, "head", self.num_classes, kernel_size=1, dropout=0.0)
        x = class_scores(GlobalAverage()(x))
        x = Activation(nn.relu)(Dense(self.num_classes, name="fc1")(x))
        return Dense(self.num_classes, name="fc2")(x)


class ChallengeGAP(ConvNet):
    """6,992 parameters: normalisation and ReLU after the 1x1 head, so the logits are never negative."""

    dropout: float = 0.05

    def forward(self, x: Array, block: Block) -> Array:
        block = partial(block, order="norm, activation")
        x = _trunk(x, block, (12, 12, 12, 12, 24))
        x = block(x, "head", self.num_classes, kernel_size=1, dropout=0.0)
        return class_scores(GlobalAverage()(x))


class ChallengeFinal(ConvNet):
    """6,972 parameters: a bare 1x1 head after the average, and no dropout."""

    def forward(self, x: Array, block: Block) -> Array:
        x = _trunk(x, partial(block, order="norm, activation"), (12, 12, 12, 12, 24))
        return class_scores(Conv(self.num_classes, kernel_size=1, name="head")(GlobalAverage()(x)))
