"""The project's own networks: one form in three sizes, below 5,340 parameters, below 8,000, and a teacher for both.

Few channels where maps are large, more where they are small; a single pooling; dilated convolutions after it. The
last convolution gives a map for each class, whose mean is the score: no classifier layer. Chosen on held-out
training images; `docs/accuracy.md` has the search.
"""

from functools import partial
from typing import Any

import flax.linen as nn
from jaxtyping import Array

from jaxmnist.models.layers import Block, Classifier, GlobalAverage, MaxPool, class_scores, gelu


class Flagship(Classifier):
    """7,836 parameters, receptive field 34; returns log-probabilities."""

    dropout: Any = 0.0
    features: tuple[int, ...] = (10, 13, 14, 14, 14)
    """Channels of all convolutions but the last, which has one for each class; two come before the pooling."""

    def classify(self, x: Array, block: Block) -> Array:
        block = partial(block, order="norm, activation", activation=gelu)
        x = block(x, "conv1", self.features[0])
        x = block(x, "conv2", self.features[1])
        x = MaxPool()(x)
        x = block(x, "conv3", self.features[2])
        for index, features in enumerate((*self.features[3:], 10), 4):
            x = block(x, f"conv{index}", features, padding=1, dilation=2)
        return nn.log_softmax(class_scores(GlobalAverage()(x)))


class FlagshipSmall(Flagship):
    """5,245 parameters, receptive field 34; returns log-probabilities."""

    features: tuple[int, ...] = (8, 11, 11, 11, 11)


class FlagshipLarge(Flagship):
    """20,832 parameters, receptive field 34; returns log-probabilities. The other two can learn from it."""

    features: tuple[int, ...] = (16, 22, 24, 24, 24)
