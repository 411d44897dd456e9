"""A network as a short list of array operations that any language can carry out.

`jaxmnist.interop.trace` makes it; the browser page (`jaxmnist.interop.browser`) and ONNX (`jaxmnist.interop.onnx`) are
made from it. Feature maps are `[channels, height, width, batch]`, as in `jaxmnist.ops`.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from scipy import special

BATCH = -1
"""The number of images, in a shape."""

INPUT = 0
"""Number of the value that is the images."""

ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "max": np.maximum,
    "min": np.minimum,
    "abs": np.abs,
    "exp": np.exp,
    "log": np.log,
    "erf": special.erf,
    "logistic": special.expit,
    "rsqrt": lambda x: 1 / np.sqrt(x),
}
"""Operations on the elements at one place, as functions of NumPy; sides of length 1 are stretched."""


class Step(NamedTuple):
    """One operation."""

    op: str
    """One of `ELEMENTWISE`, or `conv`, `dot`, `reduce_sum`, `reduce_max`, `slice`, `pad`, `concatenate`, `reshape`,
    `transpose`, `float` (bytes to floats)."""
    inputs: tuple[int, ...]
    """Numbers of the inputs."""
    output: int
    """Number of the result."""
    shape: tuple[int, ...]
    """Shape of the result."""
    attributes: Mapping[str, Any]
    """Plain numbers and lists: `padding` and `dilation` of `conv`, which has stride 1; `axes` of a reduction; `axis` of
    `concatenate`; `starts`, `limits` (None for the end) and `strides` of `slice`; `before` and `after`, the widths
    that `pad` adds; `permutation` of `transpose`."""


class Program(NamedTuple):
    """A network from images, bytes `[batch, 28, 28]`, to probabilities, float32 `[batch, classes]`."""

    steps: tuple[Step, ...]
    """The operations, in order."""
    constants: Mapping[int, np.ndarray]
    """Float32 arrays by their number."""
    seen: int
    """Number of the normalised images."""
    layers: tuple[int, ...]
    """Numbers of the results of `jaxmnist.models.structure.layers`, in their order."""
    output: int
    """Number of the probabilities."""


def run(
    program: Program, images: UInt8[np.ndarray, "batch 28 28"] | Float32[np.ndarray, "batch 28 28"]
) -> Float32[np.ndarray, "batch classes"]:
    """Runs a program in NumPy, which is slow and defines the meaning of each operation."""
    values: dict[int, Any] = {INPUT: images, **program.constants}
    for step in program.steps:
        values[step.output] = _result(step, *(values[number] for number in step.inputs))
    return values[program.output]


def _result(step: Step, x: np.ndarray, *others: np.ndarray) -> np.ndarray:
    attributes = step.attributes
    match step.op:
        case "conv":
            return _conv(step, x, *others)
        case "dot":
            return x @ others[0]
        case "reduce_sum":
            return x.sum(tuple(attributes["axes"]))
        case "reduce_max":
            return x.max(tuple(attributes["axes"]))
        case "slice":
            bounds = zip(*(attributes[name] for name in ("starts", "limits", "strides")), strict=True)
            return x[tuple(slice(*bound) for bound in bounds)]
        case "pad":
            widths = list(zip(attributes["before"], attributes["after"], strict=True))
            return np.pad(x, widths, constant_values=others[0])
        case "concatenate":
            return np.concatenate([x, *others], attributes["axis"])
        case "reshape":
            return x.reshape(step.shape)
        case "transpose":
            return x.transpose(attributes["permutation"])
        case "float":
            return x.astype(np.float32)
    return ELEMENTWISE[step.op](x, *others)


def _conv(step: Step, x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    padding, dilation = step.attributes["padding"], step.attributes["dilation"]
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    rows, columns = step.shape[1:3]
    y = np.zeros((kernel.shape[3], rows, columns, x.shape[3]), np.float32)
    for i, j in np.ndindex(kernel.shape[:2]):
        top, left = i * dilation, j * dilation
        y += np.tensordot(kernel[i, j], padded[:, top : top + rows, left : left + columns], ([0], [0]))
    return y
