"""Models in and out: PyTorch weights today."""

from jaxmnist.interop.torch import from_torch, to_torch

__all__ = ["from_torch", "to_torch"]
