"""The type of all datasets, and the error for one that is nowhere."""

import functools
import hashlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32, UInt8

from jaxmnist.errors import DataError

NUM_CLASSES = 10

CLOTHING = (
    "T-shirt",
    "trousers",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
"""Class names of Fashion-MNIST; the classes of the other datasets are the digits."""


class DataUnavailableError(DataError):
    """A dataset that was found nowhere, as opposed to found and damaged.

    Only this error may be answered with another dataset: a replacement for damaged files would hide the damage.
    """


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images, split into train and test; the arrays are made read-only.

    Images are uint8 `[N, 28, 28]` (0 background, 255 ink), labels int32 `[N]` in 0..9.
    """

    name: str
    train_images: UInt8[np.ndarray, "train 28 28"]
    train_labels: Int32[np.ndarray, " train"]
    test_images: UInt8[np.ndarray, "test 28 28"]
    test_labels: Int32[np.ndarray, " test"]
    source: str
    """Origin, as a phrase that fits after "from"."""

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Train images, train labels, test images, test labels."""
        return self.train_images, self.train_labels, self.test_images, self.test_labels

    def __post_init__(self) -> None:
        # The fingerprint is computed once, so the arrays must not change under it.
        for array in self.arrays:
            array.flags.writeable = False

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over shapes, dtypes and contents: the same for equal data from any source.

        The order of the images counts, as a resumed run would see other batches. About 0.1 s for MNIST.
        """
        digest = hashlib.sha256()
        for array in self.arrays:
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()
