"""Forms of networks below 1,000 parameters in which several convolutions share a kernel; see docs/accuracy.md."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxmnist import ops
from jaxmnist.models.layers import Activation, BatchNorm, ConvNet, GlobalAverage, MaxPool, class_scores, gelu


class Form(ConvNet):
    """The form of `flagship`; convolutions with the same letter have one kernel, and a normalisation each."""

    dropout: Any = 0.0
    first: int = 3
    width: int = 4
    kernels: tuple = ("a", "b", "c", "c")

    def forward(self, x, block):
        train, mask = block.keywords["train"], block.keywords["mask"]
        made = {}

        def conv(x, number, kernel, features, padding=0, dilation=1):
            if kernel not in made:
                init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform", in_axis=2, out_axis=3)
                made[kernel] = self.param(kernel, init, (3, 3, x.shape[0], features), jnp.float32)
            x = ops.conv2d(x, made[kernel], padding, dilation)
            return Activation(gelu)(BatchNorm(name=f"bn{number}")(x, train=train, mask=mask))

        x = conv(x, 1, "first", self.first)
        x = MaxPool()(conv(x, 2, self.kernels[0], self.width))
        x = conv(x, 3, self.kernels[1], self.width)
        for number, kernel in enumerate(self.kernels[2:], 4):
            x = conv(x, number, kernel, self.width, 1, 2)
        x = conv(x, len(self.kernels) + 2, "head", self.num_classes, 1, 2)
        return nn.log_softmax(class_scores(GlobalAverage()(x)))


class A985(Form):
    kernels: tuple = ("a", "b", "c", "d")


class R841(Form):
    kernels: tuple = ("a", "b", "c", "c")


class R849x3(Form):
    kernels: tuple = ("a", "b", "c", "c", "c")


class D744(Form):
    first: int = 4
    kernels: tuple = ("a", "a", "c", "c")


class C600(Form):
    first: int = 4
    kernels: tuple = ("a", "a", "a", "a")


class C790(Form):
    first: int = 5
    width: int = 5
    kernels: tuple = ("a", "a", "a", "a")


class C998(Form):
    first: int = 6
    width: int = 6
    kernels: tuple = ("a", "a", "a", "a")


class C428(Form):
    first: int = 3
    width: int = 3
    kernels: tuple = ("a", "a", "a", "a")
