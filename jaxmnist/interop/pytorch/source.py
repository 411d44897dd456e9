"""A network's PyTorch module as a file of its own, with its numbers filled in."""

import ast
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from jaxmnist.augment.moments import SPREADS
from jaxmnist.config import Recipe
from jaxmnist.models import Model

_SIGNATURE = re.compile(r"def __init__\(\s*self,.*?\) ->", re.DOTALL)


def to_pytorch(arch: str, model: Model, recipe: Recipe, weights: str) -> str:
    """Returns the source text of a network for PyTorch, which needs nothing of jaxmnist.

    It has the module, `load`, which reads the weights, `normalise` with the `deskew` and `rescale` that the recipe asks
    for, and `probabilities`, which also sees images tilted if the recipe says so.

    Args:
        arch: name of the network.
        model: the network, one of this package's.
        recipe: the recipe, for its normalisation and its tilt.
        weights: name of the weights file that lies beside the text.
    """
    name, module = _find_class(type(model))
    loader = jinja2.PackageLoader("jaxmnist.interop.pytorch", "")
    environment = jinja2.Environment(
        loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    return environment.get_template("file.py.jinja").render(
        arch=arch,
        name=name,
        network=_without_idle_dropout(_filled_in(module, vars(model))),
        mean=float(recipe.mean),
        std=float(recipe.std),
        deskew=recipe.deskew,
        rescale=recipe.rescale,
        tilt=recipe.tilt,
        slope=math.tan(math.radians(recipe.tilt)),
        spreads=tuple((axis, *spread) for axis, spread in enumerate(SPREADS, 1)),
        weights=weights,
    )


def _find_class(network: type) -> tuple[str, str]:
    """Returns name and text of the PyTorch class for a network's class, or for the nearest class that it inherits."""
    for base in network.__mro__:
        file = Path(__file__).with_name(f"{base.__module__.rpartition('.')[2]}.py")
        text = file.read_text(encoding="utf-8")
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef) and node.name == base.__name__:
                return node.name, ast.get_source_segment(text, node) or ""
    raise AssertionError(f"{network.__name__} has no PyTorch module")


def _filled_in(module: str, fields: Mapping[str, Any]) -> str:
    """Puts the values of a network's fields in the places of the constructor's arguments of the same names."""

    def value(match: re.Match[str]) -> str:
        found, index = fields[match[1]], match[2]
        return repr(found[int(index)] if index and isinstance(found, tuple) else found)

    module = _SIGNATURE.sub("def __init__(self) ->", module, count=1)
    return re.sub(r"(?<![.\w])(num_classes|dropout|features)(?:\[(\d)\])?(?!\w)", value, module)


def _without_idle_dropout(module: str) -> str:
    """Leaves out dropout with a rate of 0, which does nothing."""
    for line, name in re.findall(r"( +self\.(\w+) = nn\.Dropout\(0(?:\.0)?\)\n)", module):
        module = module.replace(line, "")
        calls = (node for node in ast.walk(ast.parse(module)) if isinstance(node, ast.Call))
        texts = {
            ast.get_source_segment(module, call): ast.get_source_segment(module, call.args[0])
            for call in calls
            if ast.unparse(call.func) == f"self.{name}"
        }
        for call, argument in texts.items():
            module = module.replace(call or "", argument or "")
    return module
