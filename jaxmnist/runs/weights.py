"""Weights files: the arrays of a PyTorch `state_dict` under their names, as NumPy's `.npz` or as `.safetensors`."""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from jaxmnist.config import get_recipe, recipe_of
from jaxmnist.config.run import RunConfig
from jaxmnist.config.seal import SEAL, opened, sealed
from jaxmnist.data.dataset import DIGITS, NUM_CLASSES, DatasetInfo
from jaxmnist.errors import CheckpointError, JaxmnistWarning, shortened
from jaxmnist.interop.torch import (
    find_faults,
    find_num_classes,
    from_torch,
    shapes_of,
    to_torch,
    without_wrappers,
)
from jaxmnist.interop.weight_files import (
    ARCH,
    METADATA,
    data_info_in,
    from_safetensors,
    normalisation_in,
    temperature_in,
    to_npz,
    use_metadata,
)
from jaxmnist.models import ARCHS, absolute_arch, arch_title, arch_word, create_model, is_custom
from jaxmnist.models.custom import find_class
from jaxmnist.runs.about import recorded
from jaxmnist.runtime.devices import Device
from jaxmnist.runtime.files import write_atomically
from jaxmnist.runtime.json_text import json_text
from jaxmnist.runtime.npz import kind_of, read_npz
from jaxmnist.runtime.reading import parse_json, read_bytes
from jaxmnist.train.network import Network

MAX_BYTES = 64 * 2**20
"""Size above which files are refused unread; the largest network has 1 MB of weights, in float64 twice that."""

CONFIG = "config"
"""Key in the metadata: the configuration of the run, as JSON."""

SUFFIXES = (".npz", ".safetensors", ".pt", ".pth")
"""Ends of the names of weights files; those of PyTorch are refused with advice."""

_LISTED, _LISTED_OF_NEAREST = 8, 3
_PATTERN = "*-epoch*-*.npz"
_REMEDY = "give a .npz file made by numpy.savez from a state_dict, with a float array under each of its names"
_TO_NPZ = (
    "state = torch.load({!r}, map_location='cpu', weights_only=True)",
    "numpy.savez({!r}, **{{name: array.float().numpy() for name, array in state.items()}})",
)
"""Two lines for PyTorch that turn a `state_dict` into a weights file."""


def read_weights(path: Path, device: Device, arch: str | None = None, recipe: str | None = None) -> Network:
    """Reads a weights file for inference. Nothing in it is ever unpickled.

    Args:
        path: a `.npz` or `.safetensors` file with arrays keyed `conv1.weight`, `bn1.running_mean`, .... The
            `num_batches_tracked` counters of a `state_dict` are ignored, as are strings other than this project's
            metadata. A word before every name, such as `module.`, is left out with a warning.
        device: device for the weights.
        arch: the network; by default the one whose names and shapes match the arrays.
        recipe: name of the recipe that normalises images; by default the arch's own, with mean, standard
            deviation, `deskew` and `rescale` from the file.

    Raises:
        UsageError: there is no such arch or recipe.
        CheckpointError: the file is missing or damaged, does not fit exactly one arch (the message names all missing,
            extra and misshapen arrays), or has values that are not finite floating-point numbers, or
            variances below zero.
    """
    if arch is not None:
        arch = absolute_arch(arch)
        # A wrong name is refused before a large file is read.
        find_class(arch) if is_custom(arch) else create_model(arch)
    named_recipe = get_recipe(recipe) if recipe else None
    arrays, metadata = _read_arrays(path)
    if arch is None:
        arch = _recorded_arch(arrays, metadata) or _recognise(path, arrays, metadata.get(ARCH))
    try:
        if SEAL in metadata:
            opened(metadata)
        data_info, normalisation = data_info_in(metadata), normalisation_in(metadata)
        temperature = temperature_in(metadata)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} has wrong metadata ({shortened(str(error))}); {_REMEDY}.") from error
    if data_info is not None and is_custom(arch):
        num_classes = len(data_info.classes)
    else:
        num_classes = find_num_classes(arch, arrays)
    if faults := find_faults(arch, arrays, num_classes):
        title = arch_title(arch)
        raise CheckpointError(f"{path} does not hold the weights of arch {title!r}: {_listed(faults, '; ')}.")
    _require_finite(path, arrays)
    if data_info is None:
        data_info = DatasetInfo(
            classes=DIGITS if num_classes == NUM_CLASSES else tuple(map(str, range(num_classes)))
        )
    elif len(data_info.classes) != num_classes:
        raise CheckpointError(
            f"{path} names {len(data_info.classes)} classes in its metadata and has the weights of {num_classes}; "
            f"{_REMEDY}."
        )
    variables = jax.device_put(from_torch(arch, arrays, num_classes), device)
    model = create_model(arch, num_classes=num_classes)
    own = dataclasses.replace(recipe_of(arch), **normalisation)
    network = Network(arch, model, named_recipe or own, variables, device, data_info)
    return network._replace(temperature=temperature, training=metadata.get("training"))


def is_weights(path: Path) -> bool:
    """Returns True if a path is that of a weights file, which need not exist, instead of a run folder."""
    return path.suffix in SUFFIXES or path.is_file()


def recognised_arch(path: Path) -> str:
    """Returns the network whose names and shapes a weights file has; errors as for `read_weights`."""
    arrays, metadata = _read_arrays(path)
    return _recognise(path, arrays, metadata.get(ARCH))


def save_best(
    run: Path, config: RunConfig, variables: PyTree, row: Mapping[str, Any], temperature: float = 1.0
) -> None:
    """Writes a run's best weights to `<arch>-epoch<n>-<split><accuracy>.npz` and deletes the earlier file.

    With `select_on="last"` the name is `<arch>-epoch<n>-last.npz`. The file can be read by `read_weights` and, through
    `numpy.load`, by PyTorch's `load_state_dict`. A network whose normalisation is not its arch's own gets no file, as
    the names of its arrays would not reveal that.

    Args:
        run: the run folder.
        config: configuration of the run.
        variables: the weights at the end of the epoch.
        row: line of metrics of that epoch.
        temperature: divisor of the logits, once it is known.

    Raises:
        OSError: the file could not be written; an earlier one is intact.
    """
    if config.norm not in (None, "batch"):
        return
    chosen = "" if config.select_on == "last" else f"{row[f'{config.select_on}_accuracy']:.2f}"
    file = run / f"{arch_word(config.arch)}-epoch{row['epoch']}-{config.select_on}{chosen}.npz"
    arrays = to_torch(config.arch, jax.device_get(variables), len(config.classes))
    metadata = use_metadata(config.arch, config.recipe, config.data_info, temperature)
    content = to_npz(arrays, sealed_metadata(metadata, config))
    earlier = [path for path in run.glob(_PATTERN) if path != file and not path.name.startswith(".")]
    write_atomically(file, content)
    for path in earlier:
        path.unlink()


def sealed_metadata(metadata: Mapping[str, str], config: RunConfig | None) -> dict[str, str]:
    """Returns the metadata of a weights file with the configuration of its run, if it has one, and a seal over all."""
    own = {} if config is None else {CONFIG: json_text(recorded(config))}
    return sealed({**metadata, **own})


def _read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Reads the arrays of a file, and its metadata if they are this project's."""
    try:
        kind = kind_of(path, MAX_BYTES)
        if kind == "pytorch":
            lines = _TO_NPZ[0].format(path.name), _TO_NPZ[1].format(f"{path.stem}.npz")
            raise CheckpointError(
                f"{path} is a file of PyTorch's, and nothing is unpickled here; give the {path.stem}.npz that these "
                f"two lines make of it there: {'; '.join(lines)}."
            )
        if kind == "safetensors":
            arrays, metadata = from_safetensors(read_bytes(path, MAX_BYTES))
        else:
            arrays = read_npz(path, MAX_BYTES)
            metadata = _metadata(str(arrays.get(METADATA, "")))
    except ValueError as error:
        raise CheckpointError(f"{path} {error}; {_REMEDY}.") from error
    except OSError as error:
        is_missing = isinstance(error, FileNotFoundError)
        reason = "does not exist" if is_missing else f"cannot be read ({error.strerror})"
        raise CheckpointError(f"{path} {reason}; {_REMEDY}.") from error
    numbers = {name: array for name, array in arrays.items() if array.dtype.kind not in "US"}
    numbers, left_out = without_wrappers(numbers)
    if left_out:
        message = f"the names in {path} begin with {shortened(repr(left_out))}, which is left out."
        warnings.warn(message, JaxmnistWarning, stacklevel=3)
    return numbers, metadata


def _metadata(text: str) -> dict[str, str]:
    try:
        return {key: value for key, value in dict(parse_json(text)).items() if isinstance(value, str)}
    except (ValueError, TypeError):  # written by another program
        return {}


def _recorded_arch(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> str | None:
    """Returns the arch that a file names, if the arrays fit it: to trace every network takes seconds."""
    try:
        arch = parse_json(metadata[CONFIG])["arch"] if CONFIG in metadata else metadata.get(ARCH)
    except (ValueError, LookupError, TypeError):
        return None
    return arch if arch in ARCHS and not find_faults(arch, arrays, find_num_classes(arch, arrays)) else None


def _recognise(path: Path, arrays: Mapping[str, np.ndarray], custom: str | None) -> str:
    faults = {arch: find_faults(arch, arrays, find_num_classes(arch, arrays)) for arch in ARCHS}
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
    nearest = max(ARCHS, key=lambda arch: (_likeness(arch, arrays), -len(faults[arch])))
    raise CheckpointError(
        f"{path} does not hold the weights of any arch; compared with the nearest, {nearest!r}: "
        f"{_listed(faults[nearest], '; ', _LISTED_OF_NEAREST)}."
    )


def _likeness(arch: str, arrays: Mapping[str, np.ndarray]) -> float:
    """Share of all names, those of a network and of a file together, that have the same shape in both.

    The number of differences alone would favour small networks.
    """
    wanted = shapes_of(arch, find_num_classes(arch, arrays))
    same = sum(np.shape(arrays.get(name, 0)) == shape for name, shape in wanted.items())
    return same / len(wanted.keys() | arrays.keys())


def _listed(words: Sequence[str], separator: str, most: int = _LISTED) -> str:
    """Returns the first of them; a file can have any number of arrays."""
    rest = [f"and {len(words) - most:,} more"] if len(words) > most else []
    return separator.join([*map(shortened, words[:most]), *rest])


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
