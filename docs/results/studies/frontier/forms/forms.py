"""Forms of networks below 1,000 parameters that were compared; see docs/accuracy.md."""

from functools import partial
from typing import Any

import flax.linen as nn

from jaxmnist.models.layers import ConvNet, GlobalAverage, MaxPool, class_scores, gelu


class Form(ConvNet):
    """The form of `flagship`, with any number of convolutions and a last one of 3x3, dilated, or of 1x1."""

    dropout: Any = 0.0
    before: tuple = (3, 4)
    after: tuple = (4, 4, 4)
    head: int = 3

    def forward(self, x, block):
        block = partial(block, order="norm, activation", activation=gelu)
        n = 0
        for c in self.before:
            n += 1
            x = block(x, f"conv{n}", c)
        x = MaxPool()(x)
        for i, c in enumerate(self.after):  # only the first is not dilated
            n += 1
            x = block(x, f"conv{n}", c, padding=int(i > 0), dilation=1 + (i > 0))
        if self.head == 3:
            x = block(x, f"conv{n + 1}", self.num_classes, padding=1, dilation=2)
        else:
            x = block(x, f"conv{n + 1}", self.num_classes, kernel_size=1)
        return nn.log_softmax(class_scores(GlobalAverage()(x)))


class A985(Form):
    """985 parameters."""


class B953(Form):
    """953 parameters."""

    before: tuple = (3, 5)
    after: tuple = (5, 5, 5)
    head: int = 1


class C864(Form):
    """864 parameters."""

    before: tuple = (4, 4)
    after: tuple = (4, 4, 4, 4)
    head: int = 1


class A505(Form):
    """505 parameters."""

    before: tuple = (3, 3)
    after: tuple = (3, 2, 2)


class B482(Form):
    """470 parameters; not trained."""

    before: tuple = (3, 3)
    after: tuple = (3, 3, 4)
    head: int = 1


class B496(Form):
    """497 parameters."""

    before: tuple = (2, 3)
    after: tuple = (3, 4, 4)
    head: int = 1
