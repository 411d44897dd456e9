"""The networks that PyTorch's speed is measured with, written as their sources write them.

Layers have the sources' names, so that a `state_dict` fits `jaxmnist.interop`.
"""

import torch  # pyright: ignore[reportMissingImports]
import torch.nn.functional as F  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]


class _Network(nn.Module):
    """What `first`, `second` and `third` share: blocks of `conv<i>`, activation, `bn<i>`, dropout."""

    activation = staticmethod(F.relu)
    dropout = 0.03

    def add_block(self, index: int, c_in: int, c_out: int, padding: int = 0) -> None:
        setattr(self, f"conv{index}", _conv(c_in, c_out, 3, padding))
        setattr(self, f"bn{index}", nn.BatchNorm2d(c_out))

    def block(self, index: int, x: torch.Tensor) -> torch.Tensor:
        x = self.activation(getattr(self, f"conv{index}")(x))
        return F.dropout(getattr(self, f"bn{index}")(x), self.dropout, self.training)


class First(_Network):
    """13,808 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.add_block(1, 1, 16)
        self.add_block(2, 16, 32)
        self.trans1 = _conv(32, 10, 1)
        self.add_block(3, 10, 16)
        self.add_block(4, 16, 16)
        self.add_block(5, 16, 16)
        self.add_block(6, 16, 16, padding=1)
        self.head = _conv(16, 10, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.block(2, self.block(1, x))
        x = F.max_pool2d(self.trans1(x), 2)
        for index in (3, 4, 5, 6):
            x = self.block(index, x)
        return _log_probs(self.head(F.avg_pool2d(x, 6)))


class Second(_Network):
    """5,048 parameters."""

    dropout = 0.1

    def __init__(self) -> None:
        super().__init__()
        self.add_block(1, 1, 8)
        self.add_block(2, 8, 16)
        self.trans1 = _conv(16, 8, 1)
        self.add_block(3, 8, 12)
        self.add_block(4, 12, 12)
        self.add_block(5, 12, 12, padding=1)
        self.head = _conv(12, 10, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.block(2, self.block(1, x))
        x = F.max_pool2d(self.trans1(x), 2)
        for index in (3, 4, 5):
            x = self.block(index, x)
        return _log_probs(self.head(F.avg_pool2d(x, 8)))


class Third(_Network):
    """7,902 parameters."""

    activation = staticmethod(F.gelu)

    def __init__(self) -> None:
        super().__init__()
        self.add_block(1, 1, 10)
        self.add_block(2, 10, 14)
        self.trans1 = _conv(14, 10, 1)
        self.add_block(3, 10, 14)
        self.skip1 = _conv(10, 14, 1)
        self.add_block(4, 14, 14)
        self.add_block(5, 14, 12)
        self.skip2 = _conv(14, 12, 1)
        self.add_block(6, 12, 12, padding=1)
        self.head = _conv(12, 10, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.block(2, self.block(1, x))
        pooled = F.max_pool2d(self.trans1(x), 2)
        x = self.block(3, pooled)
        joined = x + self.skip1(F.interpolate(pooled, size=x.shape[2:], mode="nearest"))
        x = self.block(5, self.block(4, joined))
        x = x + self.skip2(F.interpolate(joined, size=x.shape[2:], mode="nearest"))
        x = self.block(6, x)
        x = x * torch.sigmoid(x.mean((2, 3), keepdim=True))
        return _log_probs(self.head(F.avg_pool2d(x, 6)))


class Dilated(nn.Module):
    """5,340 parameters."""

    dropout = 0.03

    def __init__(self) -> None:
        super().__init__()
        self.add("conv1", 1, 10, 3)
        self.add("conv2", 10, 10, 3)
        self.add("conv3", 10, 15, 3)
        self.add("trans1", 15, 10, 1)
        for index in (4, 5, 6):
            self.add(f"conv{index}", 10, 10, 3, padding=1, dilation=2)

    def add(
        self, name: str, c_in: int, c_out: int, kernel_size: int, padding: int = 0, dilation: int = 1
    ) -> None:
        conv = nn.Conv2d(c_in, c_out, kernel_size, padding=padding, dilation=dilation, bias=False)
        setattr(self, name, conv)
        setattr(self, _norm_name(name), nn.BatchNorm2d(c_out))

    def block(self, name: str, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(getattr(self, _norm_name(name))(getattr(self, name)(x)))
        return F.dropout(x, self.dropout, self.training)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for name in ("conv1", "conv2", "conv3"):
            x = self.block(name, x)
        x = F.max_pool2d(x, 2)
        for name in ("trans1", "conv4", "conv5", "conv6"):
            x = self.block(name, x)
        return _log_probs(x.mean((2, 3)))


NETWORKS = {"first": First, "second": Second, "third": Third, "dilated": Dilated}


def _norm_name(name: str) -> str:
    return f"bn{name.removeprefix('conv')}" if name.startswith("conv") else f"{name}_bn"


def _conv(c_in: int, c_out: int, kernel_size: int, padding: int = 0) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, kernel_size, padding=padding, bias=False)


def _log_probs(x: torch.Tensor) -> torch.Tensor:
    return F.log_softmax(x.flatten(1), dim=1)
