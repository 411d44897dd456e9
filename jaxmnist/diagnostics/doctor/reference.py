"""Reference results of the networks: PyTorch in double precision, stored in `reference.npz`.

Weights are computed by a formula instead of being stored, and gradients and running statistics are stored as
projections on fixed directions, so the file is small. `tests/fixtures/make_reference.py` writes it with no other part
of this package. NumPy only.
"""

import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int32, UInt8, UInt32

FILE = Path(__file__).with_name("reference.npz")

MEAN, STD = 0.1307, 0.3081
"""Normalisation of pixels scaled to [0, 1]."""

_DIRECTIONS = 4


class Reference(NamedTuple):
    """Results of a network for the stored images, with the weights of `weight`."""

    outputs: Float[np.ndarray, "batch 10"]
    """Log-probabilities in evaluation mode."""
    loss: float
    """Mean negative log-likelihood in training mode, without dropout."""
    projections: dict[str, Float[np.ndarray, " directions"]]
    """`project` of the gradient of the loss by each parameter, and of each running statistic after the batch."""


def archs() -> tuple[str, ...]:
    """Returns the names of the networks with stored results."""
    with np.load(FILE, allow_pickle=False) as archive:
        return tuple(key.removesuffix("/loss") for key in archive.files if key.endswith("/loss"))


def batch() -> tuple[UInt8[np.ndarray, "batch 28 28"], Int32[np.ndarray, " batch"]]:
    """Returns the images and labels of the results: the first of the embedded digits."""
    with np.load(FILE, allow_pickle=False) as archive:
        return archive["images"], archive["labels"].astype(np.int32)


def reference(arch: str) -> Reference:
    """Returns the stored results of a network."""
    with np.load(FILE, allow_pickle=False) as archive:
        prefix = f"{arch}/projections/"
        projections = {
            key.removeprefix(prefix): archive[key] for key in archive.files if key.startswith(prefix)
        }
        return Reference(archive[f"{arch}/outputs"], float(archive[f"{arch}/loss"]), projections)


def weight(arch: str, key: str, shape: tuple[int, ...]) -> Float32[np.ndarray, "*shape"]:
    """Computes a parameter or running statistic from its name and shape in PyTorch.

    Kernels are uniform with a variance of 1 / fan-in, so activations do not grow from layer to layer, even without
    normalisation.
    """
    share = (_words(f"{arch}/{key}", int(np.prod(shape))) >> 8).reshape(shape) * 2.0**-24
    kind = key.rsplit(".", 1)[1]
    if len(shape) > 1:
        bound = float(np.sqrt(3 / np.prod(shape[1:])))
        low, high = -bound, bound
    else:
        low, high = {"weight": (0.6, 1.4), "running_var": (0.5, 2.0)}.get(kind, (-0.3, 0.3))
    return (low + (high - low) * share).astype(np.float32)


def project(key: str, values: np.ndarray) -> Float[np.ndarray, " directions"]:
    """Computes scalar products of an array in PyTorch's layout with directions of length 1.

    All elements of a direction have the same size and pseudorandom signs, so an error in any element moves every
    projection.
    """
    flat = np.asarray(values, np.float64).ravel()
    signs = 1.0 - 2.0 * (_words(f"direction/{key}", _DIRECTIONS * flat.size) >> 31)
    return signs.reshape(_DIRECTIONS, -1) @ flat / np.sqrt(flat.size)


def _words(name: str, count: int) -> UInt32[np.ndarray, " count"]:
    """Pseudorandom words: MurmurHash3's finaliser of a counter that starts at a hash of the name.

    Integer arithmetic only, so they are equal with any version of NumPy on any machine.
    """
    words = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B1) + np.uint32(zlib.crc32(name.encode()))
    for factor, shift in ((0x85EBCA6B, 16), (0xC2B2AE35, 13)):
        words = (words ^ (words >> np.uint32(shift))) * np.uint32(factor)
    return words ^ (words >> np.uint32(16))
