"""ONNX: a file that onnxruntime and many other programs run. Needs the extra `onnx`."""

import importlib
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from jaxmnist.errors import UsageError
from jaxmnist.interop.program import INPUT, Program, Step
from jaxmnist.models import IMAGE_SHAPE

# From 2021: old enough for any runtime in use, and new enough for each operation here.
_OPSET = 15
_IR_VERSION = 8

_SAME = {
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "div": "Div",
    "max": "Max",
    "min": "Min",
    "abs": "Abs",
    "exp": "Exp",
    "log": "Log",
    "erf": "Erf",
    "logistic": "Sigmoid",
    "dot": "MatMul",
}


def to_onnx(program: Program, name: str, metadata: Mapping[str, str]) -> bytes:
    """Returns a file: input `images`, uint8 `[batch, 28, 28]`; output `probabilities`, float32 `[batch, classes]`.

    Args:
        program: the network.
        name: name of the graph.
        metadata: texts to put into the file.

    Raises:
        UsageError: the package onnx is not installed.
    """
    onnx = _installed("onnx")
    helper, graph = onnx.helper, _Graph(onnx, program)
    for step in program.steps:
        graph.add_step(step)
    used = {name for node in graph.nodes for name in node.input}
    classes = program.steps[-1].shape[-1]
    inputs = helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, ["batch", *IMAGE_SHAPE[:2]])
    outputs = helper.make_tensor_value_info("probabilities", onnx.TensorProto.FLOAT, ["batch", classes])
    tensors = [tensor for tensor in graph.tensors if tensor.name in used]
    model = helper.make_model(
        helper.make_graph(graph.nodes, name, [inputs], [outputs], tensors),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="jaxmnist",
    )
    helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def run_onnx(file: bytes, images: UInt8[np.ndarray, "batch 28 28"]) -> Float32[np.ndarray, "batch classes"]:
    """Returns the probabilities that onnxruntime computes from the contents of such a file."""
    session = _installed("onnxruntime").InferenceSession(file, providers=["CPUExecutionProvider"])
    return session.run(["probabilities"], {"images": images})[0]


class _Graph:
    """The nodes and constant tensors of a graph in the making."""

    def __init__(self, onnx: ModuleType, program: Program) -> None:
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []
        self._onnx, self._constants = onnx, program.constants
        self._names = {INPUT: "images", program.output: "probabilities"}
        self._names |= {number: self._constant(array) for number, array in program.constants.items()}

    def add_step(self, step: Step) -> None:
        """Adds the nodes of a step of the program."""
        inputs, attributes = [self._name(number) for number in step.inputs], step.attributes
        output = self._name(step.output)
        match step.op:
            case "conv":
                kernel = self._constant(self._constants[step.inputs[1]].transpose(3, 2, 0, 1))
                padding, dilation = attributes["padding"], attributes["dilation"]
                self._add("Transpose", inputs[:1], f"{output}_in", perm=[3, 0, 1, 2])
                sides = {"pads": [padding] * 4, "dilations": [dilation] * 2}
                self._add("Conv", [f"{output}_in", kernel], f"{output}_out", **sides)
                self._add("Transpose", [f"{output}_out"], output, perm=[1, 2, 3, 0])
            case "rsqrt":
                self._add("Sqrt", inputs, f"{output}_root")
                self._add("Reciprocal", [f"{output}_root"], output)
            case "reduce_sum":
                self._add("ReduceSum", [*inputs, self._integers(attributes["axes"])], output, keepdims=0)
            case "reduce_max":
                self._add("ReduceMax", inputs, output, axes=attributes["axes"], keepdims=0)
            case "slice":
                end = np.iinfo(np.int64).max
                limits = [end if limit is None else limit for limit in attributes["limits"]]
                bounds = (attributes["starts"], limits, range(len(limits)), attributes["strides"])
                self._add("Slice", [*inputs, *map(self._integers, bounds)], output)
            case "pad":
                widths = self._integers([*attributes["before"], *attributes["after"]])
                self._add("Pad", [inputs[0], widths, inputs[1]], output)
            case "concatenate":
                self._add("Concat", inputs, output, axis=attributes["axis"])
            case "reshape":
                self._add("Reshape", [*inputs, self._integers(step.shape)], output)
            case "transpose":
                self._add("Transpose", inputs, output, perm=attributes["permutation"])
            case "float":
                self._add("Cast", inputs, output, to=self._onnx.TensorProto.FLOAT)
            case _:
                self._add(_SAME[step.op], inputs, output)

    def _name(self, number: int) -> str:
        return self._names.get(number, f"v{number}")

    def _add(self, op: str, inputs: Sequence[str], output: str, **attributes: object) -> None:
        self.nodes.append(self._onnx.helper.make_node(op, inputs, [output], **attributes))

    def _constant(self, array: np.ndarray) -> str:
        name = f"c{len(self.tensors)}"
        self.tensors.append(self._onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def _integers(self, values: Sequence[int]) -> str:
        return self._constant(np.array(values, np.int64))


def _installed(package: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UsageError(
            f"the format onnx needs the package {package}, which is not installed; "
            "run pip install 'jaxmnist[onnx]', or choose other formats with --format."
        ) from error
