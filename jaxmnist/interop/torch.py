"""Weights under PyTorch's names and layouts, in and out; PyTorch itself is not needed.

A convolution kernel is OIHW there and HWIO here, a linear weight [out, in] there and [in, out] here;
`bn1.weight` is our `bn1/scale`, `bn1.running_mean` our `batch_stats` `bn1/mean`. Networks of the user's own keep
Flax's names and layouts: `params/Conv_0/kernel`.
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from jaxmnist.errors import CheckpointError
from jaxmnist.models import IMAGE_SHAPE, arch_title, create_model, is_custom

_NAMES = {
    ("params", "kernel"): "weight",
    ("params", "scale"): "weight",
    ("params", "bias"): "bias",
    ("batch_stats", "mean"): "running_mean",
    ("batch_stats", "var"): "running_var",
}
# Axes of a kernel there, in the order of ours, and back.
_TO_OURS = {2: (1, 0), 4: (2, 3, 1, 0)}
_TO_THEIRS = {2: (1, 0), 4: (3, 2, 0, 1)}


def from_torch(arch: str, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Makes the variables of a network from arrays under PyTorch's names.

    Args:
        arch: name of the network.
        arrays: float arrays keyed `conv1.weight`, `bn1.running_mean`, ...; a `state_dict`'s
            `num_batches_tracked` counters are passed over.

    Returns:
        `{"params": ..., "batch_stats": ...}` with float32 NumPy leaves; `to_torch` is the exact inverse.

    Raises:
        CheckpointError: arrays are missing, left over or of another shape; all of them are named.
    """
    if faults := find_faults(arch, arrays):
        raise CheckpointError(
            f"these weights are not those of arch {arch_title(arch)!r}: {'; '.join(faults)}."
        )
    leaves, structure = _leaves(arch, _variable_shapes(arch))
    ours = [np.asarray(arrays[leaf.key], np.float32).transpose(leaf.axes_from_torch) for leaf in leaves]
    return jax.tree_util.tree_unflatten(structure, ours)


def to_torch(arch: str, variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Makes arrays under PyTorch's names and layouts from the variables of a network; inverse of `from_torch`.

    Raises:
        CheckpointError: the variables are those of another network.
    """
    wanted, given = (_leaves(arch, tree)[0] for tree in (_variable_shapes(arch), variables))
    if differing := {leaf.path for leaf in wanted} ^ {leaf.path for leaf in given}:
        names = ", ".join(map("/".join, sorted(differing)))
        raise CheckpointError(
            f"these variables are not those of arch {arch_title(arch)!r}: they differ in {names}."
        )
    return {
        leaf.key: np.ascontiguousarray(np.asarray(leaf.value).transpose(leaf.axes_to_torch)) for leaf in given
    }


def find_faults(arch: str, arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Compares arrays with the weights of a network; a phrase for each missing, extra or misshapen one."""
    wanted = shapes_of(arch)
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


def shapes_of(arch: str) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each of a network's arrays under PyTorch's names."""
    leaves, _ = _leaves(arch, _variable_shapes(arch))
    return {leaf.key: tuple(leaf.value.shape[axis] for axis in leaf.axes_to_torch) for leaf in leaves}


class _Leaf(NamedTuple):
    """An array of a network's variables, its key there, and the transpositions there and back."""

    path: tuple[str, ...]
    key: str
    value: Any
    axes_to_torch: tuple[int, ...]
    axes_from_torch: tuple[int, ...]


def _leaves(arch: str, variables: PyTree) -> tuple[list[_Leaf], Any]:
    """Returns the arrays of a tree of variables, and the structure of the tree."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(variables)

    def described(path: tuple[str, ...], value: np.ndarray | jax.Array | jax.ShapeDtypeStruct) -> _Leaf:
        same = tuple(range(value.ndim))
        if is_custom(arch):
            return _Leaf(path, "/".join(path), value, same, same)
        key = ".".join((*path[1:-1], _NAMES[path[0], path[-1]]))
        if path[-1] != "kernel":
            return _Leaf(path, key, value, same, same)
        return _Leaf(path, key, value, _TO_THEIRS[value.ndim], _TO_OURS[value.ndim])

    return [described(tuple(entry.key for entry in path), value) for path, value in leaves], structure


def _variable_shapes(arch: str) -> PyTree:
    # A class of the user's own may have changed in the meantime.
    return _trace(arch) if is_custom(arch) else _cached_trace(arch)


def _trace(arch: str) -> PyTree:
    images = jax.ShapeDtypeStruct((1, *IMAGE_SHAPE), np.float32)
    return jax.eval_shape(create_model(arch).init, jax.random.key(0), images)


_cached_trace = functools.cache(_trace)
