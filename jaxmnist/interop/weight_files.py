"""Weights files: arrays under PyTorch's names, with metadata on the use of the network."""

import io
import json
import math
from collections.abc import Mapping
from typing import Any, TypeVar, get_args

import numpy as np

from jaxmnist.config import Recipe
from jaxmnist.config.recipe import MOST_TILT
from jaxmnist.data.dataset import MAX_CLASSES, DatasetInfo, Fit, dataset_title
from jaxmnist.errors import shortened
from jaxmnist.models import is_custom
from jaxmnist.runtime.reading import parse_json

METADATA = "metadata"
"""Name of the metadata in a `.npz` file: a JSON object of texts."""

ARCH = "arch"
"""Key in the metadata: the place of the class of a network of the user's own."""

_BOOLEANS = {str(value): value for value in (True, False)}
_FITS: dict[str, Fit] = {value: value for value in get_args(Fit)}

_Value = TypeVar("_Value")


def to_safetensors(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """Returns the contents of a safetensors file; the metadata are in its header."""
    from safetensors.numpy import save

    return save(dict(arrays), dict(metadata))


def from_safetensors(content: bytes) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Returns the arrays of a safetensors file, and its metadata.

    Raises:
        ValueError: it is damaged, or has numbers that NumPy does not have; the message is a predicate.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(content)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        reason = f"numbers of type {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"cannot be read as safetensors ({shortened(str(reason))})") from error
    length = int.from_bytes(content[:8], "little")
    return arrays, parse_json(content[8 : 8 + length]).get("__metadata__", {})


def to_npz(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """Returns the contents of a `.npz` file; `jaxmnist.runs.weights.read_weights` reads it."""
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays, **{METADATA: np.array(json.dumps(dict(metadata)))})
    return file.getvalue()


def use_metadata(
    arch: str, recipe: Recipe, data_info: DatasetInfo, temperature: float = 1.0
) -> dict[str, str]:
    """Returns the metadata that say how to use a network: its normalisation, classes, images and temperature."""
    return {
        **({ARCH: arch} if is_custom(arch) else {}),
        "recipe": recipe.name,
        "mean": repr(recipe.mean),
        "std": repr(recipe.std),
        "deskew": str(recipe.deskew),
        "rescale": str(recipe.rescale),
        "tilt": repr(recipe.tilt),
        "dataset": dataset_title(data_info.dataset),  # not the path, as a file travels
        "classes": json.dumps(data_info.classes),
        "fit": data_info.fit,
        "inverted": str(data_info.inverted),
        "temperature": repr(temperature),
    }


def normalisation_in(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Returns the fields of the recipe that the metadata set; none in files of other programs.

    Raises:
        ValueError: a value is out of range.
    """
    if not metadata.keys() >= {"mean", "std", "deskew"}:
        return {}
    mean, std = float(metadata["mean"]), float(metadata["std"])
    if not (math.isfinite(mean) and math.isfinite(std) and std > 0):
        raise ValueError(f"mean {mean} and std {std}")
    made = {name: _choice(metadata, name, _BOOLEANS) for name in ("deskew", "rescale") if name in metadata}
    tilt = float(metadata.get("tilt", 0))
    if not 0 <= tilt <= MOST_TILT:
        raise ValueError(f"tilt {tilt}")
    return {"mean": mean, "std": std, "tilt": tilt, **made}


def data_info_in(metadata: Mapping[str, str]) -> DatasetInfo | None:
    """Returns the properties of the training data in the metadata; None in files of other programs.

    Raises:
        ValueError: a value is out of range.
    """
    if not metadata.keys() >= {"dataset", "classes", "fit", "inverted"}:
        return None
    classes = json.loads(metadata["classes"])
    if not (isinstance(classes, list) and all(isinstance(name, str) for name in classes)):
        raise ValueError("classes that are no list of names")
    if not 2 <= len(set(classes)) == len(classes) <= MAX_CLASSES:
        raise ValueError(f"{len(classes)} classes, some of them equal or too few or too many")
    fit, inverted = _choice(metadata, "fit", _FITS), _choice(metadata, "inverted", _BOOLEANS)
    return DatasetInfo(metadata["dataset"], tuple(classes), fit, inverted)


def temperature_in(metadata: Mapping[str, str]) -> float:
    """Returns the divisor of the logits in the metadata; 1 in files of other programs.

    Raises:
        ValueError: the value is out of range.
    """
    temperature = float(metadata.get("temperature", 1))
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature {temperature}")
    return temperature


def _choice(metadata: Mapping[str, str], key: str, choices: Mapping[str, _Value]) -> _Value:
    if (text := metadata[key]) not in choices:
        raise ValueError(f"{key} {text!r}")
    return choices[text]
