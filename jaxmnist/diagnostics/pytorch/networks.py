"""Networks of the comparison with PyTorch, as their sources write them.

Layers have the sources' names, so a `state_dict` fits `jaxmnist.interop`.
"""

from functools import partial

import torch  # pyright: ignore[reportMissingImports]
import torch.nn.functional as F  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]


class _Network(nn.Module):
    """Base of all networks: convolutions without bias, and blocks of convolution, norm, activation and dropout."""

    activation = staticmethod(F.relu)
    norm_first = False
    """False applies the activation before the norm."""
    dropout = 0.03

    def add_conv(self, name: str, c_in: int, c_out: int, size: int = 1, **options: int) -> None:
        setattr(self, name, nn.Conv2d(c_in, c_out, size, bias=False, **options))

    def add_block(self, name: str, c_in: int, c_out: int, size: int = 3, **options: int) -> None:
        self.add_conv(name, c_in, c_out, size, **options)
        setattr(self, _norm_name(name), nn.BatchNorm2d(c_out))

    def blocks(self, x: torch.Tensor, *names: str) -> torch.Tensor:
        for name in names:
            x, norm = getattr(self, name)(x), getattr(self, _norm_name(name))
            x = self.activation(norm(x)) if self.norm_first else norm(self.activation(x))
            x = F.dropout(x, self.dropout, self.training)
        return x


class Plain(_Network):
    """`first` and `second`: two blocks, a 1x1 convolution, a pool, and more blocks, of which the last is padded."""

    def __init__(self, stem: tuple[int, int], squeezed: int, body: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.add_block("conv1", 1, stem[0])
        self.add_block("conv2", *stem)
        self.add_conv("trans1", stem[1], squeezed)
        self.names = [f"conv{3 + number}" for number in range(len(body))]
        for name, c_in, c_out in zip(self.names, (squeezed, *body), body, strict=False):
            self.add_block(name, c_in, c_out, padding=int(name == self.names[-1]))
        self.add_conv("head", body[-1], 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps images to log-probabilities."""
        x = F.max_pool2d(self.trans1(self.blocks(x, "conv1", "conv2")), 2)
        x = self.blocks(x, *self.names)
        return _log_probs(self.head(F.avg_pool2d(x, x.shape[-1])))


class Third(_Network):
    """7,902 parameters."""

    activation = staticmethod(F.gelu)

    def __init__(self) -> None:
        super().__init__()
        self.add_block("conv1", 1, 10)
        self.add_block("conv2", 10, 14)
        self.add_conv("trans1", 14, 10)
        self.add_block("conv3", 10, 14)
        self.add_conv("skip1", 10, 14)
        self.add_block("conv4", 14, 14)
        self.add_block("conv5", 14, 12)
        self.add_conv("skip2", 14, 12)
        self.add_block("conv6", 12, 12, padding=1)
        self.add_conv("head", 12, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps images to log-probabilities."""
        pooled = F.max_pool2d(self.trans1(self.blocks(x, "conv1", "conv2")), 2)
        x = self.blocks(pooled, "conv3")
        joined = x + self.skip1(F.interpolate(pooled, size=x.shape[2:], mode="nearest"))
        x = self.blocks(joined, "conv4", "conv5")
        x = x + self.skip2(F.interpolate(joined, size=x.shape[2:], mode="nearest"))
        x = self.blocks(x, "conv6")
        x = x * torch.sigmoid(x.mean((2, 3), keepdim=True))
        return _log_probs(self.head(F.avg_pool2d(x, x.shape[-1])))


class Dilated(_Network):
    """5,340 parameters."""

    norm_first = True

    def __init__(self) -> None:
        super().__init__()
        self.add_block("conv1", 1, 10)
        self.add_block("conv2", 10, 10)
        self.add_block("conv3", 10, 15)
        self.add_block("trans1", 15, 10, size=1)
        for name in ("conv4", "conv5", "conv6"):
            self.add_block(name, 10, 10, padding=1, dilation=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps images to log-probabilities."""
        x = F.max_pool2d(self.blocks(x, "conv1", "conv2", "conv3"), 2)
        return _log_probs(self.blocks(x, "trans1", "conv4", "conv5", "conv6").mean((2, 3)))


NETWORKS = {
    "first": partial(Plain, (16, 32), 10, (16, 16, 16, 16), dropout=0.03),
    "second": partial(Plain, (8, 16), 8, (12, 12, 12), dropout=0.1),
    "third": Third,
    "dilated": Dilated,
}


def _norm_name(name: str) -> str:
    return f"bn{name.removeprefix('conv')}" if name.startswith("conv") else f"{name}_bn"


def _log_probs(x: torch.Tensor) -> torch.Tensor:
    return F.log_softmax(x.flatten(1), dim=1)
