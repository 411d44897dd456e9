"""The project's own network in seven sizes, from 500 to 8,000 parameters.

Few channels where maps are large, a single pooling, dilated convolutions, and no classifier: the last convolution
returns a map for each class, whose mean is the score. In the sizes up to 1,500 parameters, kernels are mixtures of four
fixed filters. For the search behind it see `docs/accuracy.md`.
"""

from functools import partial
from typing import Any

import flax.linen as nn
from jaxtyping import Array

from jaxmnist import ops
from jaxmnist.models.layers import Block, ConvNet, GlobalAverage, MaxPool, class_scores


class Flagship(ConvNet):
    """7,836 parameters, receptive field 34; returns log-probabilities."""

    dropout: Any = 0.0
    features: tuple[int, int, int, int, int] = (10, 13, 14, 14, 14)
    """Channels of all convolutions except the last, which has one for each class."""
    mixes: bool = False
    """True for kernels that are mixtures of four fixed filters; see `jaxmnist.models.layers.Conv`."""

    def forward(self, x: Array, block: Block) -> Array:
        block = partial(block, order="norm, activation", activation=ops.gelu, mixes=self.mixes)
        c1, c2, c3, c4, c5 = self.features
        x = block(block(x, "conv1", c1), "conv2", c2)
        x = MaxPool()(x)
        x = block(x, "conv3", c3)
        for index, features in ((4, c4), (5, c5), (6, self.num_classes)):
            x = block(x, f"conv{index}", features, padding=1, dilation=2)
        return nn.log_softmax(class_scores(GlobalAverage()(x)))


class FlagshipSmall(Flagship):
    """5,245 parameters."""

    features: tuple[int, int, int, int, int] = (8, 11, 11, 11, 11)


class Flagship2500(Flagship):
    """2,473 parameters."""

    features: tuple[int, int, int, int, int] = (6, 7, 7, 7, 7)


class FlagshipMixed(Flagship):
    """1,476 parameters: each kernel is a mixture of four fixed filters, so that there can be more channels."""

    features: tuple[int, int, int, int, int] = (8, 8, 8, 8, 8)
    mixes: bool = True


class Flagship1000(FlagshipMixed):
    """986 parameters."""

    features: tuple[int, int, int, int, int] = (6, 6, 6, 6, 7)


class Flagship850(FlagshipMixed):
    """844 parameters."""

    features: tuple[int, int, int, int, int] = (5, 5, 6, 6, 6)


class Flagship500(FlagshipMixed):
    """492 parameters."""

    features: tuple[int, int, int, int, int] = (4, 4, 4, 4, 4)
