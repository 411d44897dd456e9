"""The project's own networks, one below 8,000 parameters and one below 5,340.

Chosen for few multiply-adds: few channels where maps are large, more where they are small, a single pooling, and a
gate before the classifier. The small one uses two kernels twice: more layers for the same parameters.
`docs/accuracy.md` has what is known of their accuracy.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
from jaxtyping import Array

from jaxmnist.models.layers import Block, Classifier, Conv, GlobalAverage, MaxPool, class_scores


class Flagship(Classifier):
    """7,918 parameters, receptive field 22; returns log-probabilities."""

    dropout: Any = 0.0
    features: tuple[int, ...] = (8, 10, 14, 14, 14, 16)
    """Channels of the six convolutions, two before the pooling and four after it."""

    def classify(self, x: Array, block: Block) -> Array:
        block = partial(block, order="activation, norm")
        before, after = self.features[:2], self.features[2:]
        for index, features in enumerate(before, 1):
            x = block(x, f"conv{index}", features)
        x = MaxPool()(x)
        for index, features in enumerate(after, 3):
            x = block(x, f"conv{index}", features, padding=int(index == 6))
        return _gated_scores(x)


class FlagshipSmall(Classifier):
    """5,147 parameters, receptive field 30; two kernels are used twice each, with a normalisation for each use."""

    dropout: Any = 0.0

    def classify(self, x: Array, block: Block) -> Array:
        block = partial(block, order="activation, norm")

        def twice(x: Array, name: str) -> Array:
            kernel = Conv(len(x), padding=1, name=name)
            for use in (1, 2):
                x = x + block(x, f"{name}_{use}", kernel)
            return x

        x = block(block(x, "conv1", 6), "conv2", 8)
        x = MaxPool()(x)
        x = twice(block(x, "conv3", 11), "conv4")
        x = twice(block(x, "conv5", 12), "conv6")
        return _gated_scores(x)


def _gated_scores(x: Array) -> Array:
    """Each mean gated by its own sigmoid: the only step that is not linear between the maps and the classes."""
    average = GlobalAverage()(x)
    gated = average * jax.nn.sigmoid(average)
    return nn.log_softmax(class_scores(Conv(10, kernel_size=1, use_bias=True, name="head")(gated)))
