"""Weights under PyTorch's names and layouts, in and out; PyTorch itself is not needed.

A convolution kernel is OIHW there and HWIO here, a linear weight [out, in] there and [in, out] here;
`bn1.weight` is our `bn1/scale`, `bn1.running_mean` our `batch_stats` `bn1/mean`.
"""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from jaxmnist.errors import CheckpointError
from jaxmnist.models import IMAGE_SHAPE, create_model

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
    """Variables of a network from arrays under PyTorch's names.

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
        raise CheckpointError(f"these weights are not those of arch {arch!r}: {'; '.join(faults)}.")
    return _map_leaves(
        _variable_shapes(arch),
        lambda path, key, leaf: _transposed(path, np.asarray(arrays[key], np.float32), _TO_OURS),
    )


def find_faults(arch: str, arrays: Mapping[str, np.ndarray]) -> list[str]:
    """What keeps arrays from being the weights of a network: a phrase for each missing, extra or misshapen one."""
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
    """The shape of each of a network's arrays under PyTorch's names."""
    return {key: _their_shape(path, leaf.shape) for path, key, leaf in _leaves(_variable_shapes(arch))}


def to_torch(arch: str, variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Arrays under PyTorch's names and layouts from the variables of a network; inverse of `from_torch`."""
    wanted = {path for path, _, _ in _leaves(_variable_shapes(arch))}
    given = {path for path, _, _ in _leaves(variables)}
    if wanted != given:
        names = ", ".join("/".join(path) for path in sorted(wanted ^ given))
        raise CheckpointError(f"these variables are not those of arch {arch!r}: they differ in {names}.")
    return {
        key: np.ascontiguousarray(_transposed(path, np.asarray(leaf), _TO_THEIRS))
        for path, key, leaf in _leaves(variables)
    }


@functools.cache
def _variable_shapes(arch: str) -> Any:
    images = jax.ShapeDtypeStruct((1, *IMAGE_SHAPE), np.float32)
    return jax.eval_shape(create_model(arch).init, jax.random.key(0), images)


def _leaves(tree: Any) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        names = tuple(entry.key for entry in path)
        yield names, ".".join((*names[1:-1], _NAMES[names[0], names[-1]])), leaf


def _map_leaves(tree: Any, function: Any) -> Any:
    leaves = [function(*leaf) for leaf in _leaves(tree)]
    return jax.tree_util.tree_unflatten(jax.tree_util.tree_structure(tree), leaves)


def _their_shape(path: tuple[str, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(shape[axis] for axis in _TO_THEIRS[len(shape)]) if path[-1] == "kernel" else shape


def _transposed(path: tuple[str, ...], array: np.ndarray, axes: Mapping[int, tuple[int, ...]]) -> np.ndarray:
    return array.transpose(axes[array.ndim]) if path[-1] == "kernel" else array
