"""ONNX: a file that onnxruntime and many other programs run. Needs the extra `onnx`."""

import importlib
from collections.abc import Mapping
from types import ModuleType

import numpy as np
from jaxtyping import Float32, UInt8

from jaxmnist.errors import UsageError
from jaxmnist.interop.program import INPUT, Program
from jaxmnist.models import IMAGE_SHAPE

# From 2021: old enough for any runtime in use, and new enough for each operation here.
_OPSET = 15
_IR_VERSION = 8

_INTEGER_INPUTS = {
    "Slice": ("starts", "ends", "axes", "steps"),
    "Pad": ("pads",),
    "Reshape": ("shape",),
    "ReduceSum": ("axes",),
}
"""Attributes that ONNX takes as inputs, the first one after the array."""


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
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    names, nodes = {INPUT: "images", program.output: "probabilities"}, []
    arrays = {f"v{number}": array for number, array in program.constants.items()}
    for step in program.steps:
        first, *others = (names.get(number, f"v{number}") for number in step.inputs)
        output, attributes = names.get(step.output, f"v{step.output}"), dict(step.attributes)
        integers = _INTEGER_INPUTS.get(step.op, ())
        for attribute in integers:
            arrays[f"{output}_{attribute}"] = np.array(attributes.pop(attribute), np.int64)
        inputs = [first, *(f"{output}_{attribute}" for attribute in integers), *others]
        nodes.append(helper.make_node(step.op, inputs, [output], **attributes))
    shape = ["batch", program.steps[-1].shape[-1]]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, ["batch", *IMAGE_SHAPE[:2]])],
        [helper.make_tensor_value_info("probabilities", floats, shape)],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(array), key) for key, array in arrays.items()],
    )
    opset = helper.make_opsetid("", _OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION, producer_name="jaxmnist")
    helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def run_onnx(file: bytes, images: UInt8[np.ndarray, "batch 28 28"]) -> Float32[np.ndarray, "batch classes"]:
    """Returns the probabilities that onnxruntime computes from the contents of such a file."""
    session = _installed("onnxruntime").InferenceSession(file, providers=["CPUExecutionProvider"])
    return session.run(["probabilities"], {"images": images})[0]


def _installed(package: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UsageError(
            f"the format onnx needs the package {package}, which is not installed; "
            "run pip install 'jaxmnist[onnx]', or choose other formats with --format."
        ) from error
