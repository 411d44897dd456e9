"""What a network's arithmetic is compared with: PyTorch's results in double precision, stored in `reference.npz`.

Weights are made by a formula instead of being stored, so that all networks take a small file; of gradients
and running statistics it holds projections on fixed directions. `tests/fixtures/make_reference.py` writes it,
with nothing of this package but the functions here. NumPy only.
"""

import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int32, UInt8, UInt32

FILE = Path(__file__).with_name("reference.npz")

MEAN, STD = 0.1307, 0.3081
"""Normalisation of the pixels scaled to [0, 1]."""

_DIRECTIONS = 4


class Reference(NamedTuple):
    """A network's results for the stored images, with the weights of `weight`."""

    outputs: Float[np.ndarray, "batch 10"]
    """Log-probabilities in evaluation mode."""
    loss: float
    """Mean negative log-likelihood in training mode, without dropout."""
    projections: dict[str, Float[np.ndarray, " directions"]]
    """`project` of the loss's gradient by each parameter, and of each running statistic after the batch."""


def batch() -> tuple[UInt8[np.ndarray, "batch 28 28"], Int32[np.ndarray, " batch"]]:
    """The images and labels that the results are for: the first of the embedded digits."""
    with np.load(FILE, allow_pickle=False) as archive:
        return archive["images"], archive["labels"].astype(np.int32)


def reference(arch: str) -> Reference:
    """The stored results of a network."""
    with np.load(FILE, allow_pickle=False) as archive:
        prefix = f"{arch}/projections/"
        projections = {
            key.removeprefix(prefix): archive[key] for key in archive.files if key.startswith(prefix)
        }
        return Reference(archive[f"{arch}/outputs"], float(archive[f"{arch}/loss"]), projections)


def weight(arch: str, key: str, shape: tuple[int, ...]) -> Float32[np.ndarray, "*shape"]:
    """The value of a parameter or running statistic, given its name and shape in PyTorch.

    Kernels are uniform with a variance of 1 / fan-in: nothing grows on its way through a network, even without
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
    """Scalar products of an array in PyTorch's layout with directions of length 1.

    All elements of a direction are as large as each other, and their signs differ from direction to direction:
    an error in any element moves every projection.
    """
    flat = np.asarray(values, np.float64).ravel()
    signs = 1.0 - 2.0 * (_words(f"direction/{key}", _DIRECTIONS * flat.size) >> 31)
    return signs.reshape(_DIRECTIONS, -1) @ flat / np.sqrt(flat.size)


def _words(name: str, count: int) -> UInt32[np.ndarray, " count"]:
    """Words that look random: MurmurHash3's finaliser of a counter, starting where the name says.

    Integers alone, so that they are the same with any version of NumPy, on any machine.
    """
    words = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B1) + np.uint32(zlib.crc32(name.encode()))
    for factor, shift in ((0x85EBCA6B, 16), (0xC2B2AE35, 13)):
        words = (words ^ (words >> np.uint32(shift))) * np.uint32(factor)
    return words ^ (words >> np.uint32(16))
