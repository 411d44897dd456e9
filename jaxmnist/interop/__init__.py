"""Networks in and out of other programs: PyTorch's weights, ONNX, StableHLO, a page for the browser."""

from jaxmnist.interop.torch import from_torch, to_torch

__all__ = ["from_torch", "to_torch"]
