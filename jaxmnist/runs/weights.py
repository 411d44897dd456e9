"""Weights files: the arrays of a PyTorch `state_dict`, saved by NumPy under their names."""

import dataclasses
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.lib.npyio import NpzFile

from jaxmnist.config import get_recipe, recipe_of
from jaxmnist.config.run import RunConfig
from jaxmnist.errors import CheckpointError, shortened
from jaxmnist.interop.torch import find_faults, from_torch, to_torch
from jaxmnist.interop.weight_files import METADATA, to_npz
from jaxmnist.models import ARCHS, absolute_arch, arch_title, arch_word, create_model, is_custom
from jaxmnist.runtime.devices import Device
from jaxmnist.runtime.files import write_atomically
from jaxmnist.train.network import Network
from jaxmnist.train.state import TrainState

MAX_BYTES = 64 * 2**20
"""Larger files are refused unread: the largest network has 1 MB of weights, in float64 twice that."""

DESKEW = "deskew"
"""Key in the metadata of weights: `True` if the network takes images made upright, else `False`."""

ARCH = "arch"
"""Key in the metadata of a network of the user's own: the place of its class."""

_PATTERN = "*-epoch*-*.npz"
_REMEDY = "give a .npz file that numpy.savez made of a state_dict, a float array under each of its names"


def read_weights(path: Path, device: Device, arch: str | None = None, recipe: str | None = None) -> Network:
    """Opens a file of weights for inference.

    Args:
        path: a `.npz` file with arrays keyed `conv1.weight`, `bn1.running_mean`, ...; a `state_dict`'s
            `num_batches_tracked` counters are passed over, and so are texts besides the metadata of this project's
            files. Nothing in it is ever unpickled.
        device: device for the weights.
        arch: the network; by default the one with the names and shapes of the arrays.
        recipe: name of the recipe by which images are normalised; by default the arch's own, with the file's
            `deskew`.

    Raises:
        UsageError: there is no such arch or recipe.
        CheckpointError: the file is missing or damaged, does not fit exactly one arch (all missing, extra and
            misshapen arrays are named), or has values that are not finite floating-point numbers.
    """
    if arch is not None:
        arch = absolute_arch(arch)
        create_model(arch)  # a wrong name before a large file
    named_recipe = get_recipe(recipe) if recipe else None
    arrays, metadata = _read_arrays(path)
    arch = _require_arch(path, arrays, arch) if arch else _recognise(path, arrays, metadata.get(ARCH))
    _require_finite(path, arrays)
    variables = jax.device_put(from_torch(arch, arrays), device)
    own, deskew = recipe_of(arch), metadata.get(DESKEW)
    own = own if deskew is None else dataclasses.replace(own, deskew=deskew == str(True))
    return Network(arch, create_model(arch), named_recipe or own, variables, device)


def save_best(run: Path, config: RunConfig, state: TrainState, row: Mapping[str, Any]) -> None:
    """Writes a run's best weights to `<arch>-epoch<n>-<split><accuracy>.npz` and deletes the earlier file.

    With `select_on="last"`, where no accuracy picked them, the name is `<arch>-epoch<n>-last.npz`. `read_weights` and,
    through `numpy.load`, PyTorch's `load_state_dict` read the file. A network with another normalisation than its
    arch's own gets none, as the names of its arrays do not tell it apart.

    Args:
        run: the run folder.
        config: of the run.
        state: the state at the end of the epoch.
        row: line of metrics of that epoch.

    Raises:
        OSError: it could not be written; an earlier one is intact.
    """
    if config.norm not in (None, "batch"):
        return
    variables = jax.device_get(state.variables)
    chosen = "" if config.select_on == "last" else f"{row[f'{config.select_on}_accuracy']:.2f}"
    file = run / f"{arch_word(config.arch)}-epoch{row['epoch']}-{config.select_on}{chosen}.npz"
    metadata = {"recipe": config.recipe.name, DESKEW: str(config.recipe.deskew)}
    metadata |= {ARCH: config.arch} if is_custom(config.arch) else {}
    content = to_npz(to_torch(config.arch, variables), metadata)
    earlier = [path for path in run.glob(_PATTERN) if path != file and not path.name.startswith(".")]
    write_atomically(file, content)
    for path in earlier:
        path.unlink()


def _read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Reads the arrays of a file, and its metadata if it has those of this project."""
    arrays = {}
    try:
        if not path.is_file():
            reason = "is not a regular file" if path.exists() else "does not exist"
            raise CheckpointError(f"{path} {reason}; {_REMEDY}.")
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise CheckpointError(f"{path} is no .npz file, or one that is cut short; {_REMEDY}.")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                # A small file can unpack to gigabytes.
                if sum(member.file_size for member in archive.zip.infolist()) > MAX_BYTES:
                    raise CheckpointError(f"{path} holds more than {MAX_BYTES:,} bytes; {_REMEDY}.")
                for name in archive.files:
                    arrays[name] = _read_array(path, archive, name)
    except CheckpointError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds
        reason = getattr(error, "strerror", None) or str(error).strip().split("\n")[0] or type(error).__name__
        raise CheckpointError(f"{path} cannot be read ({reason[:200]}); {_REMEDY}.") from error
    metadata = _metadata(str(arrays.get(METADATA, "")))
    return {name: array for name, array in arrays.items() if array.dtype.kind not in "US"}, metadata


def _metadata(text: str) -> dict[str, str]:
    try:
        values = json.loads(text)
        found = {key: values[key] for key in (ARCH, DESKEW) if key in values}
    except (ValueError, TypeError, RecursionError):  # the text of another program
        return {}
    return {key: value for key, value in found.items() if value in ("True", "False") or key == ARCH}


def _read_array(path: Path, archive: NpzFile, name: str) -> np.ndarray:
    try:
        array = archive[name]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        message = f"{path} has Python objects in {name}, which are never unpickled; {_REMEDY}."
        raise CheckpointError(message) from error
    # A member that is not an array, as all are in the files of torch.save, comes back as bytes.
    if not isinstance(array, np.ndarray):
        raise CheckpointError(f"{path} is no .npz file: its member {name} is no array; {_REMEDY}.")
    return array


def _require_arch(path: Path, arrays: Mapping[str, np.ndarray], arch: str) -> str:
    if faults := find_faults(arch, arrays):
        title = arch_title(arch)
        raise CheckpointError(f"{path} does not hold the weights of arch {title!r}: {'; '.join(faults)}.")
    return arch


def _recognise(path: Path, arrays: Mapping[str, np.ndarray], custom: str | None) -> str:
    faults = {arch: find_faults(arch, arrays) for arch in ARCHS}
    fitting = [arch for arch in ARCHS if not faults[arch]]
    if len(fitting) > 1:
        raise CheckpointError(
            f"{path} fits the archs {' and '.join(fitting)}; name the right one with --arch."
        )
    if fitting:
        return fitting[0]
    if custom is not None:
        # Not loaded from there at once: a weights file of somebody else must not decide what code runs.
        raise CheckpointError(
            f"{path} holds the weights of a network that is not part of jaxmnist; name its class with --arch "
            f"{shortened(custom)}."
        )
    nearest = min(ARCHS, key=lambda arch: len(faults[arch]))
    raise CheckpointError(
        f"{path} does not hold the weights of any arch; seen as the nearest, {nearest!r}: "
        f"{'; '.join(faults[nearest])}."
    )


def _require_finite(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    weights = {key: array for key, array in arrays.items() if not key.endswith(".num_batches_tracked")}
    if wrong := [key for key, array in weights.items() if array.dtype.kind != "f"]:
        raise CheckpointError(f"{path} has values that are no floating-point numbers in {', '.join(wrong)}.")
    # Also true of what is finite in float64 only; a comparison with NaN is never true.
    largest = np.finfo(np.float32).max
    if wrong := [key for key, array in weights.items() if not (np.abs(array) <= largest).all()]:
        raise CheckpointError(f"{path} has weights that are not finite in float32 in {', '.join(wrong)}.")
