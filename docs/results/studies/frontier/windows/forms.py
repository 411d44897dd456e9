"""Forms of `flagship_1000` with other dilations and a smoothed pooling; see docs/accuracy.md."""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp

from jaxmnist.models.flagship import Flagship1000
from jaxmnist.models.layers import GlobalAverage, MaxPool, class_scores, gelu


class Form(Flagship1000):
    """`flagship_1000` with any dilations of its last three convolutions, which take 2 pixels off a map each."""

    dilations: tuple = (2, 2, 2)
    pooling: type = MaxPool

    def forward(self, x, block):
        block = partial(block, order="norm, activation", activation=gelu, mixes=self.mixes)
        c1, c2, c3, c4, c5 = self.features
        x = block(block(x, "conv1", c1), "conv2", c2)
        x = block(self.pooling()(x), "conv3", c3)
        for index, features, dilation in zip(
            (4, 5, 6), (c4, c5, self.num_classes), self.dilations, strict=True
        ):
            x = block(x, f"conv{index}", features, padding=dilation - 1, dilation=dilation)
        return nn.log_softmax(class_scores(GlobalAverage()(x)))


class BlurPool(nn.Module):
    """Maxima of 2x2 pixels, smoothed by 1, 2, 1 before every other one is taken (R. Zhang, 2019)."""

    @nn.compact
    def __call__(self, x):
        x = jnp.maximum(x[:, :-1], x[:, 1:])
        x = jnp.maximum(x[:, :, :-1], x[:, :, 1:])
        x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
        x = (x[:, :-2:2] + 2 * x[:, 1:-1:2] + x[:, 2::2]) / 4
        return (x[:, :, :-2:2] + 2 * x[:, :, 1:-1:2] + x[:, :, 2::2]) / 4


class Twos(Form):
    """The network itself."""


class OneTwoThree(Form):
    dilations: tuple = (1, 2, 3)


class Smoothed(Form):
    pooling: type = BlurPool
