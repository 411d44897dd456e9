"""The challenge family: one trunk of five convolutions without padding, three ways to end it. All return logits."""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
from jaxtyping import Array, Float

from jaxmnist import ops
from jaxmnist.models.layers import (
    Activation,
    Conv,
    Dense,
    GlobalAverage,
    MaxPool,
    class_scores,
    conv_block,
)

_block = partial(conv_block, order="norm, activation")


def _trunk(images: Array, block: Callable[..., Array], widths: tuple[int, int, int, int, int]) -> Array:
    x = ops.to_batch_minor(images)
    x = block(x, "conv1", widths[0])
    x = block(x, "conv2", widths[1])
    x = MaxPool()(x)
    x = block(x, "conv3", widths[2])
    x = block(x, "conv4", widths[3])
    x = MaxPool()(x)
    return block(x, "conv5", widths[4])


class ChallengeLL(nn.Module):
    """9,412 parameters: normalisation and ReLU after the 1x1 head, then two linear layers."""

    dropout: float = 0.05

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "batch 28 28 1"],
        train: bool = False,
        mask: Float[Array, " batch"] | None = None,
    ) -> Float[Array, "batch 10"]:
        block = partial(_block, train=train, mask=mask)
        x = _trunk(images, partial(block, dropout=self.dropout), (8, 8, 16, 16, 32))
        x = block(x, "head", 10, kernel_size=1, dropout=0.0)
        x = class_scores(GlobalAverage()(x))
        x = Activation(nn.relu)(Dense(10, name="fc1")(x))
        return Dense(10, name="fc2")(x)


class ChallengeGAP(nn.Module):
    """6,992 parameters: normalisation and ReLU after the 1x1 head, so the logits are never negative."""

    dropout: float = 0.05

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "batch 28 28 1"],
        train: bool = False,
        mask: Float[Array, " batch"] | None = None,
    ) -> Float[Array, "batch 10"]:
        block = partial(_block, train=train, mask=mask)
        x = _trunk(images, partial(block, dropout=self.dropout), (12, 12, 12, 12, 24))
        x = block(x, "head", 10, kernel_size=1, dropout=0.0)
        return class_scores(GlobalAverage()(x))


class ChallengeFinal(nn.Module):
    """6,972 parameters: a bare 1x1 head after the average, and no dropout."""

    dropout: float = 0.0

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "batch 28 28 1"],
        train: bool = False,
        mask: Float[Array, " batch"] | None = None,
    ) -> Float[Array, "batch 10"]:
        block = partial(_block, dropout=self.dropout, train=train, mask=mask)
        x = _trunk(images, block, (12, 12, 12, 12, 24))
        return class_scores(Conv(10, kernel_size=1, name="head")(GlobalAverage()(x)))
