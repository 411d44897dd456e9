"""A network as a short list of array operations that any language can carry out.

The operations are those of ONNX. `jaxmnist.interop.trace` makes a program; the browser page
(`jaxmnist.interop.browser`) and ONNX files (`jaxmnist.interop.onnx`) are made from it.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from scipy import special

END = 2**31 - 1
"""The end of an axis, in the `ends` of a `Slice`."""

INPUT = 0
"""Number of the value that is the images."""


class Step(NamedTuple):
    """One operation."""

    op: str
    """Name of the operation in ONNX, one of `OPERATIONS`."""
    inputs: tuple[int, ...]
    """Numbers of the inputs."""
    output: int
    """Number of the result."""
    shape: tuple[int, ...]
    """Shape of the result for one image."""
    attributes: Mapping[str, Any]
    """Plain numbers and lists under the names of ONNX, or of its inputs that are constant integers."""


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
    """Runs a program in NumPy, which is slow."""
    values: dict[int, Any] = {INPUT: images, **program.constants}
    for step in program.steps:
        inputs = (values[number] for number in step.inputs)
        values[step.output] = OPERATIONS[step.op](*inputs, **step.attributes)
    return values[program.output]


def _conv(x: np.ndarray, kernel: np.ndarray, pads: list[int], dilations: list[int]) -> np.ndarray:
    """Convolution of `[batch, channels, height, width]` with a kernel OIHW, stride 1."""
    padded = np.pad(x, ((0, 0), (0, 0), pads[::2], pads[1::2]))
    rows, columns = (
        padded.shape[axis] - dilation * (kernel.shape[axis] - 1)
        for axis, dilation in zip((2, 3), dilations, strict=True)
    )
    y = np.zeros((kernel.shape[0], len(x), rows, columns), np.float32)
    for i, j in np.ndindex(kernel.shape[2:]):
        top, left = i * dilations[0], j * dilations[1]
        part = padded[:, :, top : top + rows, left : left + columns]
        y += np.tensordot(kernel[:, :, i, j], part, ([1], [1]))
    return y.swapaxes(0, 1)


def _slice(
    x: np.ndarray, starts: list[int], ends: list[int], axes: list[int], steps: list[int]
) -> np.ndarray:
    slices = [slice(None)] * x.ndim
    for axis, *bounds in zip(axes, starts, ends, steps, strict=True):
        slices[axis] = slice(*bounds)
    return x[tuple(slices)]


def _pad(x: np.ndarray, value: np.ndarray, pads: list[int]) -> np.ndarray:
    return np.pad(x, list(zip(pads[: x.ndim], pads[x.ndim :], strict=True)), constant_values=value)


OPERATIONS: dict[str, Callable[..., np.ndarray]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Max": np.maximum,
    "Min": np.minimum,
    "Abs": np.abs,
    "Neg": np.negative,
    "Exp": np.exp,
    "Log": np.log,
    "Sqrt": np.sqrt,
    "Tanh": np.tanh,
    "Erf": special.erf,
    "Sigmoid": special.expit,
    "MatMul": np.matmul,
    "Conv": _conv,
    "ReduceSum": lambda x, axes, keepdims: x.sum(tuple(axes)),
    "ReduceMax": lambda x, axes, keepdims: x.max(tuple(axes)),
    "Slice": _slice,
    "Pad": _pad,
    "Concat": lambda *arrays, axis: np.concatenate(arrays, axis),
    "Reshape": lambda x, shape: x.reshape(shape),
    "Transpose": lambda x, perm: x.transpose(perm),
    "Cast": lambda x, to: x.astype(np.float32),
}
"""The operations, as functions of NumPy. Elementwise ones stretch sides of length 1; `Cast` makes floats of bytes."""
