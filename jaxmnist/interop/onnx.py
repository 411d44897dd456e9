"""ONNX: a file that onnxruntime and many other programs run. Needs the extra `onnx`."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from jaxmnist.errors import UsageError
from jaxmnist.interop.program import INPUT, Program, Step
from jaxmnist.models import IMAGE_SHAPE

# Of 2021: old enough for any runtime in use, and new enough for each operation here.
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
    """The file: input `images`, uint8 `[batch, 28, 28]`; output `probabilities`, float32 `[batch, 10]`.

    Raises:
        UsageError: the package onnx is not installed.
    """
    onnx = _installed("onnx")
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    nodes: list[Any] = []
    tensors: list[Any] = []
    names = {INPUT: "images", program.output: "probabilities"}

    def name_of(number: int) -> str:
        return names.get(number, f"v{number}")

    def constant(array: np.ndarray) -> str:
        tensors.append(onnx.numpy_helper.from_array(np.ascontiguousarray(array), f"c{len(tensors)}"))
        return tensors[-1].name

    def add(op: str, inputs: list[str], output: str, **attributes: Any) -> None:
        nodes.append(helper.make_node(op, inputs, [output], **attributes))

    for number, array in program.constants.items():
        names[number] = constant(array)
    for step in program.steps:
        inputs, output = [name_of(number) for number in step.inputs], name_of(step.output)
        if step.op in _SAME:
            add(_SAME[step.op], inputs, output)
        elif step.op == "conv":
            kernel = constant(program.constants[step.inputs[1]].transpose(3, 2, 0, 1))
            add("Transpose", inputs[:1], f"{output}_in", perm=[3, 0, 1, 2])
            padding, dilation = step.attributes["padding"], step.attributes["dilation"]
            sides = {"pads": [padding] * 4, "dilations": [dilation] * 2}
            add("Conv", [f"{output}_in", kernel], f"{output}_out", **sides)
            add("Transpose", [f"{output}_out"], output, perm=[1, 2, 3, 0])
        else:
            _OTHERS[step.op](step, inputs, output, add, constant)
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, ["batch", *IMAGE_SHAPE[:2]])],
        [helper.make_tensor_value_info("probabilities", float32, ["batch", 10])],
        [tensor for tensor in tensors if tensor.name in used],
    )
    opset = helper.make_opsetid("", _OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION, producer_name="jaxmnist")
    helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def run_onnx(file: bytes, images: UInt8[np.ndarray, "batch 28 28"]) -> Float32[np.ndarray, "batch 10"]:
    """What onnxruntime computes from the contents of such a file."""
    session = _installed("onnxruntime").InferenceSession(file, providers=["CPUExecutionProvider"])
    return session.run(["probabilities"], {"images": images})[0]


def _installed(package: str) -> Any:
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UsageError(
            f"the format onnx needs the package {package}, which is not installed; "
            "run pip install 'jaxmnist[onnx]', or choose other formats with --format."
        ) from error


def _integers(values: Any) -> np.ndarray:
    return np.array(values, np.int64)


def _slice(step: Step, inputs: list[str], output: str, add: Any, constant: Any) -> None:
    end = np.iinfo(np.int64).max
    limits = [end if limit is None else limit for limit in step.attributes["limits"]]
    axes = range(len(limits))
    bounds = (step.attributes["starts"], limits, axes, step.attributes["strides"])
    add("Slice", [*inputs, *(constant(_integers(list(bound))) for bound in bounds)], output)


def _pad(step: Step, inputs: list[str], output: str, add: Any, constant: Any) -> None:
    array, value = inputs
    pads = constant(_integers([*step.attributes["before"], *step.attributes["after"]]))
    add("Pad", [array, pads, value], output)


def _rsqrt(step: Step, inputs: list[str], output: str, add: Any, constant: Any) -> None:
    add("Sqrt", inputs, f"{output}_root")
    add("Reciprocal", [f"{output}_root"], output)


def _reduce_sum(step: Step, inputs: list[str], output: str, add: Any, constant: Any) -> None:
    add("ReduceSum", [*inputs, constant(_integers(step.attributes["axes"]))], output, keepdims=0)


_OTHERS: dict[str, Callable[[Step, list[str], str, Any, Any], None]] = {
    "slice": _slice,
    "rsqrt": _rsqrt,
    "reduce_sum": _reduce_sum,
    "reduce_max": lambda step, inputs, output, add, constant: add(
        "ReduceMax", inputs, output, axes=step.attributes["axes"], keepdims=0
    ),
    "pad": _pad,
    "concatenate": lambda step, inputs, output, add, constant: add(
        "Concat", inputs, output, axis=step.attributes["axis"]
    ),
    "reshape": lambda step, inputs, output, add, constant: add(
        "Reshape", [*inputs, constant(_integers(step.shape))], output
    ),
    "transpose": lambda step, inputs, output, add, constant: add(
        "Transpose", inputs, output, perm=step.attributes["permutation"]
    ),
    "float": lambda step, inputs, output, add, constant: add("Cast", inputs, output, to=1),
}
