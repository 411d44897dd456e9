"""The browser page: one file with the network inside, to draw on and to look into. Its parts are in `page/`."""

import base64
import html
import importlib.resources
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from jaxmnist.errors import CheckpointError
from jaxmnist.interop.program import Program, Step
from jaxmnist.models.structure import Layer

_SCRIPTS = ("network.js", "image.js", "maps.js", "drawing.js", "page.js")
_DATA = '<script type="application/json" id="data">'
_END = "</script>"


class Sample(NamedTuple):
    """A test image on the page, to look at and to check the page's arithmetic with."""

    label: int
    pixels: UInt8[np.ndarray, "28 28"]
    probabilities: Float32[np.ndarray, "10"]
    """What JAX gives."""


def to_html(
    program: Program, layers: Sequence[Layer], about: Mapping[str, Any], samples: Sequence[Sample]
) -> str:
    """The page.

    Args:
        program: the network.
        layers: of the network, those of the program.
        about: what `jaxmnist.inference.description` says of the network; plain JSON values.
        samples: test images.
    """
    data = {
        "about": dict(about),
        "samples": [
            {
                "label": sample.label,
                "pixels": _base64(sample.pixels),
                "probabilities": [round(float(share), 9) for share in sample.probabilities],
            }
            for sample in samples
        ],
        "layers": [
            {"value": value, "name": layer.name, "kind": layer.kind, "parameters": layer.parameters}
            | {"shape": layer.output_shape}
            for value, layer in zip(program.layers, layers, strict=True)
            if layer.kind != "Dropout"  # does nothing in use
        ],
        **_program_json(program),
    }
    scripts = "\n".join(_part(name) for name in _SCRIPTS)
    parts = {
        "title": html.escape(f"{about['arch']}: a small neural network at work"),
        "style": _part("page.css"),
        # A text in it must not end the element.
        "data": f"{_DATA}{json.dumps(data).replace('<', chr(92) + 'u003c')}{_END}",
        "script": f"<script>\n{scripts}{_END}",
    }
    page = _part("page.html")
    for name, text in parts.items():
        page = page.replace(f"<!-- {name} -->", text)
    return page


def read_program(page: str) -> Program:
    """The network in a page.

    Raises:
        CheckpointError: the page has none.
    """
    try:
        data = json.loads(page.split(_DATA, 1)[1].split(_END, 1)[0])
        weights = np.frombuffer(base64.b64decode(data["weights"]), "<f4")
        steps = [
            Step(step["op"], tuple(step["inputs"]), step["output"], tuple(step["shape"]), step)
            for step in data["steps"]
        ]
        constants = {
            constant["value"]: weights[constant["start"] :][: int(np.prod(constant["shape"]))].reshape(
                constant["shape"]
            )
            for constant in data["constants"]
        }
        return Program(tuple(steps), constants, data["seen"], (), data["output"])
    except (IndexError, KeyError, ValueError) as error:
        raise CheckpointError(f"this page holds no network ({error!r}); export it again.") from error


def _program_json(program: Program) -> dict[str, Any]:
    arrays = list(program.constants.values())
    starts = np.cumsum([0, *(array.size for array in arrays)]).tolist()
    return {
        "steps": [
            {"op": step.op, "inputs": step.inputs, "output": step.output, "shape": step.shape}
            | dict(step.attributes)
            for step in program.steps
        ],
        "constants": [
            {"value": value, "shape": array.shape, "start": start}
            for (value, array), start in zip(program.constants.items(), starts, strict=False)
        ],
        "seen": program.seen,
        "output": program.output,
        "weights": _base64(np.concatenate([array.ravel() for array in arrays]).astype("<f4")),
    }


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode()


def _part(name: str) -> str:
    return (importlib.resources.files("jaxmnist.interop") / "page" / name).read_text()
