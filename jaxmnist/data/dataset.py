"""What every source of images returns, and the error that says there is none."""

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
"""What the classes of Fashion-MNIST are; those of the other datasets are the digits."""


class DataUnavailableError(DataError):
    """The dataset was found nowhere, as opposed to found and damaged.

    Only this one may be answered with another dataset: falling back from damaged files would hide them.
    """


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images, split into train and test; the arrays are made read-only.

    Images are uint8 `[N, 28, 28]` (0 background, 255 ink), labels int32 `[N]` in 0..9. `source` says where
    they came from, as a phrase that fits after "from".
    """

    name: str
    train_images: UInt8[np.ndarray, "train 28 28"]
    train_labels: Int32[np.ndarray, " train"]
    test_images: UInt8[np.ndarray, "test 28 28"]
    test_labels: Int32[np.ndarray, " test"]
    source: str

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
        """SHA-256 (hex) over shapes, dtypes and contents: equal data has it whatever the source.

        Images in another order are other data: a resumed run would see other batches. About 0.1 s for MNIST.
        """
        digest = hashlib.sha256()
        for array in self.arrays:
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()
