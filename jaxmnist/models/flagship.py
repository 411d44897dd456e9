"""The project's own networks, one below 8,000 parameters and one below 5,340.

Few channels where maps are large, more where they are small, a single pooling: few multiply-adds.
`docs/accuracy.md` tells how they were chosen.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
from jaxtyping import Array

from jaxmnist.models.layers import Block, Classifier, Conv, GlobalAverage, MaxPool, class_scores, gelu


class Flagship(Classifier):
    """7,918 parameters, receptive field 22; returns log-probabilities.

    Each mean is gated by its own sigmoid: the only step that is not linear between the maps and the classes.
    """

    dropout: Any = 0.0

    def classify(self, x: Array, block: Block) -> Array:
        block = partial(block, order="activation, norm")
        x = block(block(x, "conv1", 8), "conv2", 10)
        x = MaxPool()(x)
        for index, features in ((3, 14), (4, 14), (5, 14), (6, 16)):
            x = block(x, f"conv{index}", features, padding=int(index == 6))
        average = GlobalAverage()(x)
        gated = average * jax.nn.sigmoid(average)
        return nn.log_softmax(class_scores(Conv(10, kernel_size=1, use_bias=True, name="head")(gated)))


class FlagshipSmall(Classifier):
    """5,245 parameters, receptive field 34; returns log-probabilities.

    Dilated convolutions, and no classifier: the last one gives a map for each class, whose mean is the score.
    """

    dropout: Any = 0.0

    def classify(self, x: Array, block: Block) -> Array:
        block = partial(block, order="norm, activation", activation=gelu)
        x = block(block(x, "conv1", 8), "conv2", 11)
        x = MaxPool()(x)
        x = block(x, "conv3", 11)
        for index, features in ((4, 11), (5, 11), (6, 10)):
            x = block(x, f"conv{index}", features, padding=1, dilation=2)
        return nn.log_softmax(class_scores(GlobalAverage()(x)))
