"""The type of all datasets, the classes of those with a name, and the error for one that is nowhere."""

import functools
import hashlib
import math
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Literal

import numpy as np
from jaxtyping import Int32, Int64, UInt8

from jaxmnist.errors import DataError

Fit = Literal["mnist", "stretch", "pad"]
"""The way pictures become 28x28: as MNIST's digits were made; by area, stretched; by area, with padding."""

DIGITS = tuple(string.digits)
NUM_CLASSES = len(DIGITS)
"""Number of classes of MNIST."""

MAX_CLASSES = 1_000
"""Most classes that a dataset may have."""

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
"""Class names of Fashion-MNIST."""

KUZUSHIJI = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
"""Class names of KMNIST: one hiragana of each row of the syllabary, in cursive writing."""

# Of letters with the same shape in both cases EMNIST makes one class.
_MERGED = (*DIGITS, *string.ascii_uppercase, *"abdefghnqrt")

CLASSES: Mapping[str, tuple[str, ...]] = {
    "mnist": DIGITS,
    "fashion_mnist": CLOTHING,
    "kmnist": KUZUSHIJI,
    "emnist/balanced": _MERGED,
    "emnist/letters": tuple(string.ascii_uppercase),
    "emnist/digits": DIGITS,
    "emnist/mnist": DIGITS,
    "emnist/byclass": (*DIGITS, *string.ascii_uppercase, *string.ascii_lowercase),
    "emnist/bymerge": _MERGED,
    "digits": DIGITS,
}
"""Datasets with a name, and the names of their classes in the order of the labels."""

# KMNIST fills the square. EMNIST (Cohen et al., 2017) leaves two pixels around a character at the size it was scanned.
_INK_SIDE = {"fashion_mnist": 28, "kmnist": 28} | {name: 26 for name in CLASSES if name.startswith("emnist/")}

_HANDWRITTEN_DIGITS = ("mnist", "digits", "emnist/digits", "emnist/mnist")


class DataUnavailableError(DataError):
    """A dataset that was found nowhere, as opposed to found and damaged.

    Only this error may be answered with another dataset: a replacement for damaged files would hide the damage.
    """


@dataclass(frozen=True)
class DatasetInfo:
    """Properties of a dataset that a network trained on it needs wherever it is used."""

    dataset: str = "mnist"
    """A name in `CLASSES`, or the absolute path of a dataset of the user's own."""
    classes: tuple[str, ...] = DIGITS
    """Names of the classes, in the order of the labels."""
    fit: Fit = "mnist"
    """The way pictures become 28x28; see `jaxmnist.data.fitting.to_28x28`."""
    inverted: bool = False
    """True if its pictures have dark ink on a light ground, so that all grey values are inverted."""

    @property
    def ink_side(self) -> int:
        """Longer side, in pixels, of the box around the ink, which `fit` "mnist" scales it to."""
        return _INK_SIDE.get(self.dataset, 20)

    @property
    def is_digits(self) -> bool:
        """True for handwritten digits in the style of MNIST."""
        return self.dataset in _HANDWRITTEN_DIGITS


def dataset_title(dataset: str) -> str:
    """Returns a dataset for display: its name, or the last part of its path without the suffix of a file."""
    if dataset in CLASSES:
        return dataset
    name = PurePath(dataset).name
    return name.removesuffix(".gz").removesuffix(".csv").removesuffix(".npz") or "data"


def dataset_word(dataset: str) -> str:
    """Returns a dataset for file names: its title in letters, digits and `._-`, at most 60 of them."""
    return re.sub(r"[^\w.-]", "-", dataset_title(dataset))[:60]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images, split into train and test; the arrays are made read-only.

    Images are uint8 `[N, 28, 28]` (0 background, 255 ink), labels int32 `[N]` in `range(num_classes)`.
    """

    name: str
    """A name in `CLASSES`, or the title of a path; see `dataset_title`."""
    train_images: UInt8[np.ndarray, "train 28 28"]
    train_labels: Int32[np.ndarray, " train"]
    test_images: UInt8[np.ndarray, "test 28 28"]
    test_labels: Int32[np.ndarray, " test"]
    source: str
    """Origin, as a phrase that fits after "from"."""
    classes: tuple[str, ...] = DIGITS
    val_count: int | None = None
    """Number of training images, the last ones, that are the val split the data came with; None if it came without."""
    fit: Fit = "mnist"
    """The way its pictures became 28x28; see `jaxmnist.data.fitting.to_28x28`."""
    path: str | None = None
    """Absolute path of a dataset of the user's own; None for one with a name."""
    test_path: str | None = None
    """Absolute path of the file with its test split, if it was named."""
    kind: str = ""
    """Format of a dataset of the user's own: "folder of images", "npz", "csv" or "IDX"."""
    notes: tuple[str, ...] = ()
    """Sentences to warn of: files that were skipped, classes without or with few images."""
    inverted: bool = False
    """True if the pictures have dark ink on a light ground, so that all grey values were inverted."""
    places: Mapping[str, str] = field(default_factory=dict)
    """Origin of each split of a dataset of the user's own."""

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Train images, train labels, test images, test labels."""
        return self.train_images, self.train_labels, self.test_images, self.test_labels

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def info(self) -> DatasetInfo:
        """The properties that a network trained on it keeps."""
        return DatasetInfo(self.path or self.name, self.classes, self.fit, self.inverted)

    def __post_init__(self) -> None:
        # The fingerprint is computed once, so the arrays must not change under it.
        for array in self.arrays:
            array.flags.writeable = False

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over shapes, dtypes and contents: the same for equal data from any source.

        The order of the images counts, as a resumed run would see other batches. The names of the classes do not.
        About 0.1 s for MNIST.
        """
        digest = hashlib.sha256()
        for array in self.arrays:
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    @functools.cached_property
    def mean_and_std(self) -> tuple[float, float]:
        """Mean and standard deviation of the training pixels, scaled to [0, 1]; a val split it came with is left out.

        Summed as whole numbers, so the result does not depend on the machine.
        """
        train = self.train_images[: len(self.train_images) - (self.val_count or 0)]
        pieces = (train[start : start + 10_000].ravel() for start in range(0, len(train), 10_000))
        histogram = sum(np.bincount(piece, minlength=256) for piece in pieces)
        total, squares = (int(np.arange(256) ** power @ histogram) for power in (1, 2))
        mean = total / train.size
        return mean / 255, math.sqrt(squares / train.size - mean**2) / 255

    def class_counts(self) -> dict[str, Int64[np.ndarray, " classes"]]:
        """Counts the images of each class in `train`, in `test`, and in `val` if the data came with it."""
        train, val = np.split(self.train_labels, [len(self.train_labels) - (self.val_count or 0)])
        labels = {"train": train, "val": val, "test": self.test_labels}
        if self.val_count is None:
            del labels["val"]
        return {
            split: np.bincount(of_split, minlength=self.num_classes) for split, of_split in labels.items()
        }

    def describe(self) -> str:
        """Describes the dataset in a line: "folder of images: 3 classes, 1,240 train, 260 test"."""
        counts = (f"{counts.sum():,} {split}" for split, counts in self.class_counts().items())
        return f"{self.kind or self.name}: {self.num_classes:,} classes, {', '.join(counts)}"
