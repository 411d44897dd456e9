"""EMNIST: six datasets in one archive (Cohen, Afshar, Tapson and van Schaik, 2017).

Its images are stored by columns, mirrored at the diagonal as against those of MNIST, and the labels of `letters` begin
with 1. Here both are set right.
"""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from jaxmnist.data import idx
from jaxmnist.data.dataset import CLASSES
from jaxmnist.errors import DataError
from jaxmnist.runtime.npz import NpzError, open_zip
from jaxmnist.runtime.reading import open_regular

ARCHIVE = "gzip.zip"
"""The archive with all six, as it is downloaded."""

_INNER = "gzip/"


def prefix(name: str) -> str:
    """Returns what comes before the names of a dataset's files: "emnist-letters-" for "emnist/letters"."""
    return f"{name.replace('/', '-')}-"


def holds(folder: Path, name: str) -> bool:
    """True if a folder has a file of the dataset, or the archive."""
    return (folder / ARCHIVE).exists() or any(
        idx.find(folder, file_name, prefix(name)) for file_name in idx.FILE_NAMES
    )


def read(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Reads a dataset from its four files, or from the archive if that is there.

    Raises:
        DataError: a file is missing or damaged.
    """
    first = int(name == "emnist/letters")
    with _opened(folder) as place:
        arrays = idx.read_folder(place, prefix(name), first + len(CLASSES[name]))
    for images in arrays[::2]:
        for start in range(0, len(images), 10_000):  # in pieces: byclass has half a gigabyte
            piece = images[start : start + 10_000]
            piece[:] = piece.transpose(0, 2, 1).copy()
    for labels in arrays[1::2]:
        if labels.min() < first:
            raise DataError(f"{folder} has labels below {first}, which {name} has not; get its files afresh.")
        labels -= first
    return arrays


@contextmanager
def _opened(folder: Path) -> Iterator[idx.Place]:
    archive = folder / ARCHIVE
    if not archive.exists():
        yield folder
        return
    try:
        with open_regular(archive) as file, open_zip(file) as opened:
            yield zipfile.Path(opened, _INNER)
    except (zipfile.BadZipFile, NpzError, OSError) as error:
        raise DataError(f"{archive} cannot be read ({error}); replace it with a fresh copy.") from error
