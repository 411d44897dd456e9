"""Folders with the IDX files of a dataset with a name."""

import contextlib
import hashlib
import os
from pathlib import Path

import numpy as np

from jaxmnist.data import emnist, idx
from jaxmnist.data.checksums import DOWNLOADS, download_of
from jaxmnist.data.dataset import CLASSES, Dataset
from jaxmnist.errors import DataError

SOURCE = "the folder "
"""Beginning of a dataset's source, before its path."""

_TORCHVISION = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "kmnist": "KMNIST", "emnist": "EMNIST"}
"""Folders that torchvision makes; the files are in `raw` below them."""


def read(name: str, data_dir: str | os.PathLike[str]) -> Dataset | str:
    """Reads the dataset, or returns in a few words why the folder lacks it; `DataError` if it is damaged."""
    folder = Path(data_dir)
    with contextlib.suppress(RuntimeError):  # an unknown user: a folder that does not exist
        folder = folder.expanduser()  # no shell expands the tilde of --data-dir=~/data
    family = name.partition("/")[0]
    places = dict.fromkeys((folder / name, folder / family, folder, folder / _TORCHVISION[family] / "raw"))
    try:
        if not folder.is_dir():
            return "no such folder"
        for place in places:
            if family == "emnist":
                if emnist.holds(place, name):
                    arrays = emnist.read(place, name)
                    break
            elif any(idx.find(place, file_name) for file_name in idx.FILE_NAMES):
                arrays = idx.read_folder(place)
                break
        else:
            return "none of the four files is in it"
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror}); check its permissions.") from error
    dataset = Dataset(name, *arrays, f"{SOURCE}{place}", CLASSES[name])
    if (actual := _published_name(dataset)) in (None, name):
        return dataset
    # All IDX datasets have the same file names, so a folder of one could pass for another.
    if place == folder:
        return f"its files are those of {actual}"
    raise DataError(f"{place} holds the files of {actual}, not {name}; move them to {folder / actual}.")


def _published_name(dataset: Dataset) -> str | None:
    """Name of the published dataset with these training labels, or None."""
    digest = hashlib.sha256(dataset.train_labels.astype(np.uint8).tobytes()).hexdigest()
    return next((name for name, known in DOWNLOADS.items() if known.train_labels_sha256 == digest), None)


def is_published(dataset: Dataset) -> bool:
    """True if a dataset with a name is the published one, as far as its fingerprint is known."""
    known = download_of(dataset.name).fingerprint
    return known is None or dataset.fingerprint == known
