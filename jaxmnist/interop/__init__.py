"""Networks in and out of other programs: PyTorch's weights and modules, ONNX, StableHLO, a page for the browser.

The names below load JAX when first used: the modules in `jaxmnist.interop.pytorch` are imported without it.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxmnist.interop.torch import from_torch, to_torch

__all__ = ["from_torch", "to_torch"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from jaxmnist.interop import torch

        return getattr(torch, name)
    raise AttributeError(f"module 'jaxmnist.interop' has no attribute {name!r}")
