"""A network that compiles in a second, for tests of everything around a network."""

from functools import partial
from typing import Any

import flax.linen as nn

from jaxmnist import ops
from jaxmnist.models.layers import Conv, GlobalAverage, class_scores, conv_block


class Small(nn.Module):
    """Convolution, activation, BN, dropout and a head: 42 parameters."""

    dropout: Any = 0.1

    @nn.compact
    def __call__(self, images, train=False, mask=None):
        x = ops.max_pool2(ops.to_batch_minor(images))
        block = partial(conv_block, order="activation, norm", activation=nn.relu, dropout=self.dropout)
        x = block(x, "conv1", 2, train=train, mask=mask)
        return nn.log_softmax(class_scores(Conv(10, kernel_size=1, name="head")(GlobalAverage()(x))))
