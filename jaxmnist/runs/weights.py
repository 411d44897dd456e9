"""Weights files: the arrays of a PyTorch `state_dict` under their names, in NumPy's `.npz` format."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxmnist.config import Recipe, get_recipe, recipe_of
from jaxmnist.config.parsing import updated
from jaxmnist.config.run import RunConfig
from jaxmnist.config.seal import opened, sealed
from jaxmnist.errors import CheckpointError, shortened
from jaxmnist.interop.torch import find_faults, from_torch, to_torch
from jaxmnist.interop.weight_files import METADATA, to_npz
from jaxmnist.models import ARCHS, absolute_arch, arch_title, arch_word, create_model, is_custom
from jaxmnist.runs.about import recorded
from jaxmnist.runs.folder import naming_damage
from jaxmnist.runtime.devices import Device
from jaxmnist.runtime.files import write_atomically
from jaxmnist.runtime.json_text import json_text
from jaxmnist.runtime.npz import NpzError, read_npz
from jaxmnist.runtime.reading import parse_json
from jaxmnist.train.network import Network
from jaxmnist.train.state import TrainState

MAX_BYTES = 64 * 2**20
"""Size above which files are refused unread; the largest network has 1 MB of weights, in float64 twice that."""

DESKEW = "deskew"
"""Key in the metadata: `True` if images are deskewed for the network, else `False`."""

ARCH = "arch"
"""Key in the metadata: the place of the class of a network of the user's own."""

CONFIG = "config"
"""Key in the metadata: the configuration of the run as JSON, sealed; images are normalised by its recipe."""

_LISTED = 8
_PATTERN = "*-epoch*-*.npz"
_REMEDY = "give a .npz file made by numpy.savez from a state_dict, with a float array under each of its names"


def read_weights(path: Path, device: Device, arch: str | None = None, recipe: str | None = None) -> Network:
    """Reads a weights file for inference. Nothing in it is ever unpickled.

    Args:
        path: a `.npz` file with arrays keyed `conv1.weight`, `bn1.running_mean`, .... The `num_batches_tracked`
            counters of a `state_dict` are ignored, as are strings other than this project's metadata.
        device: device for the weights.
        arch: the network; by default the one whose names and shapes match the arrays.
        recipe: name of the recipe that normalises images; by default the arch's own, with the normalisation of
                the run that wrote the file.

    Raises:
        UsageError: there is no such arch or recipe.
        CheckpointError: the file is missing or damaged, does not fit exactly one arch (the message names all missing,
            extra and misshapen arrays), or has values that are not finite floating-point numbers or variances
            below zero.
    """
    if arch is not None:
        arch = absolute_arch(arch)
        create_model(arch)  # refuses a wrong name before a large file is read
    named_recipe = get_recipe(recipe) if recipe else None
    arrays, metadata = _read_arrays(path)
    if arch is None:
        arch = _recognise(path, arrays, metadata.get(ARCH))
    elif faults := find_faults(arch, arrays):
        title = arch_title(arch)
        raise CheckpointError(f"{path} does not hold the weights of arch {title!r}: {_listed(faults, '; ')}.")
    _require_finite(path, arrays)
    variables = jax.device_put(from_torch(arch, arrays), device)
    own, deskew = recipe_of(arch), metadata.get(DESKEW)
    own = own if deskew is None else dataclasses.replace(own, deskew=deskew == str(True))
    if (content := metadata.get(CONFIG)) is not None:
        own = _normalised_as(own, path, content)
    return Network(arch, create_model(arch), named_recipe or own, variables, device)


def save_best(run: Path, config: RunConfig, state: TrainState, row: Mapping[str, Any]) -> None:
    """Writes a run's best weights to `<arch>-epoch<n>-<split><accuracy>.npz` and deletes the earlier file.

    With `select_on="last"` the name is `<arch>-epoch<n>-last.npz`. The file can be read by `read_weights` and, through
    `numpy.load`, by PyTorch's `load_state_dict`. A network whose normalisation is not its arch's own gets no file, as
    the names of its arrays would not reveal that.

    Args:
        run: the run folder.
        config: configuration of the run.
        state: the state at the end of the epoch.
        row: line of metrics of that epoch.

    Raises:
        OSError: the file could not be written; an earlier one is intact.
    """
    if config.norm not in (None, "batch"):
        return
    variables = jax.device_get(state.variables)
    chosen = "" if config.select_on == "last" else f"{row[f'{config.select_on}_accuracy']:.2f}"
    file = run / f"{arch_word(config.arch)}-epoch{row['epoch']}-{config.select_on}{chosen}.npz"
    metadata = {"recipe": config.recipe.name, DESKEW: str(config.recipe.deskew)}
    metadata |= {ARCH: config.arch} if is_custom(config.arch) else {}
    metadata |= config_metadata(config)
    content = to_npz(to_torch(config.arch, variables), metadata)
    earlier = [path for path in run.glob(_PATTERN) if path != file and not path.name.startswith(".")]
    write_atomically(file, content)
    for path in earlier:
        path.unlink()


def config_metadata(config: RunConfig) -> dict[str, str]:
    """Returns the configuration of a run for the metadata of a weights file."""
    return {CONFIG: json_text(sealed(recorded(config)))}


def _read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Reads the arrays of a file, and its metadata if they are this project's."""
    try:
        arrays = read_npz(path, MAX_BYTES)
    except NpzError as error:
        raise CheckpointError(f"{path} {error}; {_REMEDY}.") from error
    except OSError as error:
        is_missing = isinstance(error, FileNotFoundError)
        reason = "does not exist" if is_missing else f"cannot be read ({error.strerror})"
        raise CheckpointError(f"{path} {reason}; {_REMEDY}.") from error
    metadata = _metadata(str(arrays.get(METADATA, "")))
    return {name: array for name, array in arrays.items() if array.dtype.kind not in "US"}, metadata


def _metadata(text: str) -> dict[str, str]:
    try:
        values = parse_json(text)
        found = {key: values[key] for key in (ARCH, DESKEW, CONFIG) if key in values}
    except (ValueError, TypeError):  # written by another program
        return {}
    return {key: value for key, value in found.items() if value in ("True", "False") or key in (ARCH, CONFIG)}


def _normalised_as(own: Recipe, path: Path, content: str) -> Recipe:
    """Returns a recipe with the normalisation of the run whose configuration a weights file records."""
    with naming_damage(path, "restore it or export the run anew"):
        recipe = opened(parse_json(content))["recipe"]
        return updated(own, {name: recipe[name] for name in ("mean", "std", DESKEW)}, "recipe")


def _recognise(path: Path, arrays: Mapping[str, np.ndarray], custom: str | None) -> str:
    faults = {arch: find_faults(arch, arrays) for arch in ARCHS}
    fitting = [arch for arch in ARCHS if not faults[arch]]
    if len(fitting) > 1:
        raise CheckpointError(f"{path} fits the archs {' and '.join(fitting)}; choose one with --arch.")
    if fitting:
        return fitting[0]
    if custom is not None:
        # The class is not loaded from there: a weights file must not decide which code runs.
        raise CheckpointError(
            f"{path} holds the weights of a network that is not part of jaxmnist; name its class with --arch "
            f"{shortened(custom)}."
        )
    nearest = min(ARCHS, key=lambda arch: len(faults[arch]))
    raise CheckpointError(
        f"{path} does not hold the weights of any arch; compared with the nearest, {nearest!r}: "
        f"{_listed(faults[nearest], '; ')}."
    )


def _listed(words: Sequence[str], separator: str) -> str:
    """Returns the first of them; a file can have any number of arrays."""
    rest = [f"and {len(words) - _LISTED:,} more"] if len(words) > _LISTED else []
    return separator.join([*map(shortened, words[:_LISTED]), *rest])


def _require_finite(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    weights = {key: array for key, array in arrays.items() if not key.endswith(".num_batches_tracked")}
    if wrong := [key for key, array in weights.items() if array.dtype.kind != "f"]:
        raise CheckpointError(
            f"{path} has values that are not floating-point numbers in {_listed(wrong, ', ')}."
        )
    # This refuses values that are finite in float64 only, and NaN, which compares as False.
    largest = np.finfo(np.float32).max
    if wrong := [key for key, array in weights.items() if not (np.abs(array) <= largest).all()]:
        raise CheckpointError(f"{path} has weights that are not finite in float32 in {_listed(wrong, ', ')}.")
    if wrong := [key for key, array in weights.items() if key.endswith(".running_var") and (array < 0).any()]:
        raise CheckpointError(f"{path} has variances below zero in {_listed(wrong, ', ')}; {_REMEDY}.")
