"""The `dilated` network: dilated convolutions after the only pooling, and no classifier layer."""

from functools import partial

import flax.linen as nn
from jaxtyping import Array, Float

from jaxmnist import ops
from jaxmnist.models.layers import GlobalAverage, MaxPool, class_scores, conv_block

_block = partial(conv_block, order="norm, activation")


class Dilated(nn.Module):
    """5,340 parameters, receptive field 32 before the average; returns log-probabilities.

    The class scores are means of what ReLU and dropout give, so they are never negative.
    """

    dropout: float = 0.03

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "batch 28 28 1"],
        train: bool = False,
        mask: Float[Array, " batch"] | None = None,
    ) -> Float[Array, "batch 10"]:
        block = partial(_block, dropout=self.dropout, train=train, mask=mask)
        x = ops.to_batch_minor(images)
        x = block(x, "conv1", 10)
        x = block(x, "conv2", 10)
        x = block(x, "conv3", 15)
        x = MaxPool()(x)
        x = block(x, "trans1", 10, kernel_size=1)
        x = block(x, "conv4", 10, padding=1, dilation=2)
        x = block(x, "conv5", 10, padding=1, dilation=2)
        x = block(x, "conv6", 10, padding=1, dilation=2)
        return nn.log_softmax(class_scores(GlobalAverage()(x)))
