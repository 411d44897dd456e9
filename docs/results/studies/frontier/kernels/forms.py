"""Forms of networks with kernels of four, six or nine numbers, or of two factors; see docs/accuracy.md."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from jaxmnist import ops
from jaxmnist.models.layers import Activation, BatchNorm, ConvNet, GlobalAverage, MaxPool, class_scores, gelu

Y, X = np.mgrid[-1:2, -1:2].astype(np.float32)
MEAN, ALONG_X, ALONG_Y = np.ones((3, 3), np.float32) / 3, X / 6**0.5, Y / 6**0.5
SQUARES = [(square - 2 / 3) / 2**0.5 for square in (X * X, Y * Y)]
BANKS = {
    "six": np.stack([MEAN, ALONG_X, ALONG_Y, *SQUARES, X * Y / 2], -1),
    "four": np.stack([MEAN, ALONG_X, ALONG_Y, sum(SQUARES) / 2**0.5], -1),
}


class Form(ConvNet):
    """The form of `flagship`; each kernel is a mixture of the filters of a bank."""

    dropout: Any = 0.0
    features: tuple = (4, 4, 4, 4, 4)
    bank: str = ""

    def kernel(self, number, c_in, c_out):
        filters = BANKS[self.bank].shape[-1]
        init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform", in_axis=(0, 1), out_axis=2)
        shares = self.param(f"conv{number}", init, (filters, c_in, c_out), jnp.float32)
        return jnp.einsum("hwf,fio->hwio", BANKS[self.bank], shares)

    def forward(self, x, block):
        train, mask = block.keywords["train"], block.keywords["mask"]

        def conv(x, number, features, padding=0, dilation=1):
            x = ops.conv2d(x, self.kernel(number, x.shape[0], features), padding, dilation)
            return Activation(gelu)(BatchNorm(name=f"bn{number}")(x, train=train, mask=mask))

        first, second, third, *rest = self.features
        x = MaxPool()(conv(conv(x, 1, first), 2, second))
        x = conv(x, 3, third)
        for number, features in enumerate((*rest, self.num_classes), 4):
            x = conv(x, number, features, 1, 2)
        return nn.log_softmax(class_scores(GlobalAverage()(x)))


class W6(Form):
    features: tuple = (6, 6, 6, 6, 6)
    bank: str = "four"


class W11(Form):
    features: tuple = (10, 11, 11, 11, 10)
    bank: str = "four"


class C492(Form):
    bank: str = "four"


class P962(Form):
    features: tuple = (4, 5, 5, 5, 5)
    bank: str = "six"


class P490(Form):
    features: tuple = (4, 3, 3, 3, 3)
    bank: str = "six"


class Nine(Form):
    """Free kernels."""

    def kernel(self, number, c_in, c_out):
        init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform", in_axis=2, out_axis=3)
        return self.param(f"conv{number}", init, (3, 3, c_in, c_out), jnp.float32)


class Dense496(Nine):
    features: tuple = (4, 3, 2, 2, 2)


class Factored(Form):
    """A filter for each input, and a mix of the inputs; the first kernels are free."""

    def kernel(self, number, c_in, c_out):
        if number == 1:
            return Nine.kernel(self, number, c_in, c_out)
        init = nn.initializers.variance_scaling(1.0, "fan_in", "uniform", in_axis=(0, 1), out_axis=3)
        space = self.param(f"space{number}", init, (3, 3, c_in, 1), jnp.float32)
        init = nn.initializers.variance_scaling(1.0, "fan_in", "uniform", in_axis=2, out_axis=3)
        return space * self.param(f"mix{number}", init, (1, 1, c_in, c_out), jnp.float32)


class B490(Factored):
    features: tuple = (3, 4, 6, 6, 6)


class B458(Factored):
    features: tuple = (3, 5, 7, 7)
