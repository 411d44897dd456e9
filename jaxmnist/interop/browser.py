"""The browser page: one file that holds the network, to draw on and to look into. Its parts are in `page/`."""

import base64
import html
import importlib.resources
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from jaxmnist.errors import escaped
from jaxmnist.interop.program import Program, Step
from jaxmnist.models.structure import Layer
from jaxmnist.runtime.json_text import json_text

_SCRIPTS = ("network.js", "image.js", "strokes.js", "maps.js", "drawing.js", "page.js")
_DATA = '<script type="application/json" id="data">'
_END = "</script>"


class Sample(NamedTuple):
    """A test image on the page, to look at and to check the page's arithmetic with."""

    label: int
    """The true class."""
    pixels: UInt8[np.ndarray, "28 28"]
    """The image."""
    probabilities: Float32[np.ndarray, " classes"]
    """The probabilities that JAX computes."""


def to_html(
    program: Program, layers: Sequence[Layer], about: Mapping[str, Any], samples: Sequence[Sample]
) -> str:
    """Returns the page.

    Args:
        program: the network.
        layers: its layers, those of the program.
        about: its description as JSON, see `jaxmnist.inference.description`.
        samples: test images.
    """
    data = program._asdict() | {
        "about": {**about, "classes": list(map(escaped, about["classes"]))},
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
        "steps": [step._asdict() for step in program.steps],
        "constants": {
            number: {"shape": array.shape, "values": _base64(array.astype("<f4"))}
            for number, array in program.constants.items()
        },
    }
    scripts = "\n".join(_part(name) for name in _SCRIPTS)
    parts = {
        "title": html.escape(f"{about['arch']}: a small neural network at work"),
        "style": _part("page.css"),
        # A text within must not end the element.
        "data": f"{_DATA}{json_text(data).replace('<', chr(92) + 'u003c')}{_END}",
        "script": f"<script>\n{scripts}{_END}",
    }
    page = _part("page.html")
    for name, text in parts.items():
        page = page.replace(f"<!-- {name} -->", text)
    return page


def read_program(page: str) -> Program:
    """Reads the network in a page, without its layers."""
    data = json.loads(page.split(_DATA, 1)[1].split(_END, 1)[0])
    constants = {
        int(number): np.frombuffer(base64.b64decode(array["values"]), "<f4").reshape(array["shape"])
        for number, array in data["constants"].items()
    }
    steps = tuple(Step(**step | {"inputs": tuple(step["inputs"])}) for step in data["steps"])
    return Program(steps, constants, data["seen"], (), data["output"])


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode()


def _part(name: str) -> str:
    return (importlib.resources.files("jaxmnist.interop") / "page" / name).read_text()
