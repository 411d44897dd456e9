"""Weights under PyTorch's names and layouts, in both directions; PyTorch itself is not needed.

A convolution kernel is OIHW there and HWIO here, a linear weight [out, in] there and [in, out] here. `bn1.weight` is
`bn1/scale` here, `bn1.running_mean` is `bn1/mean` in `batch_stats`. Networks of the user's own keep the names and
layouts of Flax: `params/Conv_0/kernel`.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from jaxmnist.data.dataset import MAX_CLASSES, NUM_CLASSES
from jaxmnist.errors import CheckpointError
from jaxmnist.models import IMAGE_SHAPE, arch_title, create_model, is_custom

_NAMES = {
    ("params", "kernel"): "weight",
    ("params", "scale"): "weight",
    ("params", "bias"): "bias",
    ("batch_stats", "mean"): "running_mean",
    ("batch_stats", "var"): "running_var",
}
_COUNTERS = ("num_batches_tracked", "n_averaged")
_COMPILED = "._orig_mod."
# Axes of a kernel there, by their number; the order for the way back is the inverse.
_TO_TORCH = {2: (1, 0), 4: (3, 2, 0, 1)}


def from_torch(arch: str, arrays: Mapping[str, np.ndarray], num_classes: int | None = None) -> dict[str, Any]:
    """Makes the variables of a network from arrays under PyTorch's names.

    Args:
        arch: name of the network.
        arrays: float arrays keyed `conv1.weight`, `bn1.running_mean`, ...; the counters `num_batches_tracked` of a
            `state_dict` are ignored.
        num_classes: number of classes; by default that of the arrays, and for a class of the user's own 10.

    Returns:
        `{"params": ..., "batch_stats": ...}` with float32 NumPy leaves; `to_torch` is the exact inverse.

    Raises:
        CheckpointError: arrays are missing, left over or of another shape; all of them are named.

    Example:
        >>> back = jaxmnist.interop.from_torch("third", arrays)
        >>> jaxmnist.count_params(back)
        7902

    """
    num_classes = num_classes or find_num_classes(arch, arrays)
    if faults := find_faults(arch, arrays, num_classes):
        raise CheckpointError(
            f"these weights are not those of arch {arch_title(arch)!r}: {'; '.join(faults)}."
        )
    shapes = _variable_shapes(arch, num_classes)
    ours = [
        np.asarray(arrays[_key(arch, path)], np.float32).transpose(np.argsort(_axes(arch, path, leaf.ndim)))
        for path, leaf in _leaves(shapes).items()
    ]
    return jax.tree_util.tree_unflatten(jax.tree_util.tree_structure(shapes), ours)


def to_torch(
    arch: str, variables: Mapping[str, Any], num_classes: int = NUM_CLASSES
) -> dict[str, np.ndarray]:
    """Makes arrays under PyTorch's names and layouts from the variables of a network; inverse of `from_torch`.

    Args:
        arch: name of the network.
        variables: `params` and `batch_stats`.
        num_classes: number of classes, for a class of the user's own.

    Raises:
        CheckpointError: the variables are those of another network.

    Example:
        >>> arrays = jaxmnist.interop.to_torch("third", variables)
        >>> arrays["conv1.weight"].shape
        (10, 1, 3, 3)

    """
    wanted, given = _leaves(_variable_shapes(arch, num_classes)), _leaves(variables)
    if differing := sorted(wanted.keys() ^ given.keys()):
        title, names = arch_title(arch), ", ".join(differing)
        raise CheckpointError(f"these variables are not those of arch {title!r}: they differ in {names}.")
    return {
        _key(arch, path): np.ascontiguousarray(np.asarray(leaf).transpose(_axes(arch, path, leaf.ndim)))
        for path, leaf in given.items()
    }


def without_wrappers(arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], str]:
    """Leaves out what modules around a network put before its names.

    `module.` is from DataParallel and AveragedModel, `_orig_mod.` from torch.compile, `model.` from trainers; any other
    word before every name is left out as well, as no network here has one.

    Args:
        arrays: arrays under PyTorch's names.

    Returns:
        The arrays without counters of updates (`num_batches_tracked`, `n_averaged`), and what was left out before the
        names: empty, or `module.` say.
    """
    kept = {name: array for name, array in arrays.items() if name.rpartition(".")[2] not in _COUNTERS}
    left_out = ""
    if any(_COMPILED in f".{name}" for name in kept):  # before the name of any compiled part
        kept, left_out = {f".{name}".replace(_COMPILED, ".")[1:]: kept[name] for name in kept}, _COMPILED[1:]
    while len(words := {name.partition(".")[0] for name in kept}) == 1 and len(kept) > 1:
        word = f"{words.pop()}."
        if not all(name.removeprefix(word).count(".") for name in kept):
            break
        kept, left_out = {name.removeprefix(word): array for name, array in kept.items()}, left_out + word
    return kept, left_out


def find_num_classes(arch: str, arrays: Mapping[str, np.ndarray]) -> int:
    """Returns the number of classes that arrays of a network have: the size of the axis that follows from it.

    It is 10 for arrays that do not tell, and for a class of the user's own.
    """
    if not is_custom(arch):
        ten, more = shapes_of(arch), shapes_of(arch, NUM_CLASSES + 1)
        for key, shape in ten.items():
            found = np.shape(arrays.get(key, ()))
            if shape != more[key] and len(found) == len(shape):
                axis = next(
                    i for i, sizes in enumerate(zip(shape, more[key], strict=True)) if len({*sizes}) > 1
                )
                return found[axis] if 2 <= found[axis] <= MAX_CLASSES else NUM_CLASSES
    return NUM_CLASSES


def find_faults(arch: str, arrays: Mapping[str, np.ndarray], num_classes: int = NUM_CLASSES) -> list[str]:
    """Compares arrays with the weights of a network; returns a phrase for each missing, extra or misshapen one."""
    wanted = shapes_of(arch, num_classes)
    given = {key for key in arrays if not key.endswith(".num_batches_tracked")}
    return [
        *(f"{key} is missing" for key in wanted if key not in given),
        *(f"{key} is not part of it" for key in sorted(given - set(wanted))),
        *(
            f"{key} has shape {np.shape(arrays[key])} instead of {shape}"
            for key, shape in wanted.items()
            if key in given and np.shape(arrays[key]) != shape
        ),
    ]


def shapes_of(arch: str, num_classes: int = NUM_CLASSES) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each of a network's arrays under PyTorch's names."""
    return {
        _key(arch, path): tuple(leaf.shape[axis] for axis in _axes(arch, path, leaf.ndim))
        for path, leaf in _leaves(_variable_shapes(arch, num_classes)).items()
    }


def _leaves(variables: PyTree) -> dict[str, Any]:
    """Returns the arrays of a tree of variables by their paths, such as `params/conv1/kernel`."""
    leaves = jax.tree_util.tree_leaves_with_path(variables)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _key(arch: str, path: str) -> str:
    collection, *modules, name = path.split("/")
    return path if is_custom(arch) else ".".join((*modules, _NAMES[collection, name]))


def _axes(arch: str, path: str, ndim: int) -> tuple[int, ...]:
    """Returns the axes of an array in the order of PyTorch."""
    return _TO_TORCH[ndim] if path.endswith("/kernel") and not is_custom(arch) else tuple(range(ndim))


def _variable_shapes(arch: str, num_classes: int) -> PyTree:
    # A class of the user's own may have changed in the meantime.
    return _trace(arch, num_classes) if is_custom(arch) else _cached_trace(arch, num_classes)


def _trace(arch: str, num_classes: int) -> PyTree:
    images = jax.ShapeDtypeStruct((1, *IMAGE_SHAPE), np.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))  # a real one would start a device
    return jax.eval_shape(create_model(arch, num_classes=num_classes).init, key, images)


_cached_trace = functools.lru_cache(maxsize=256)(_trace)
