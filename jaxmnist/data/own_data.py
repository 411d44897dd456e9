"""Datasets of the user's own, recognised by what is at a path.

A folder of images, an `.npz`, a `.csv` or `.csv.gz`, the IDX files of MNIST under any of the names in use, or a folder
with one of these: `image_folder`, `npz`, `csv_table` and `idx` read them, and `assemble` makes datasets of them. The
same images give the same dataset in any format.
"""

import contextlib
import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from jaxmnist.data import csv_table, emnist, idx, npz
from jaxmnist.data.assemble import Part, assemble
from jaxmnist.data.dataset import CLASSES, Dataset, Fit
from jaxmnist.errors import DataError, UsageError

_WANTED = (
    "a folder of images (train/CLASS/*.png and test/CLASS/*.png, or CLASS/*.png), an .npz or .csv file, or the four "
    "IDX files of a dataset"
)
_MOST_LABELS = 256
"""Labels in an IDX file are bytes."""

_Load = Callable[[], Dataset]


def load(path: Path, fit: Fit, test: Path | None, announce: Callable[[str], None]) -> Dataset:
    """Loads the dataset at a path.

    Args:
        path: a file or folder; `~` is the home folder.
        fit: see `jaxmnist.data.fitting.to_28x28`; it matters to pictures that are not 28x28, and `"mnist"`
            to all.
        test: CSV file with the test split of a CSV file.
        announce: called with a line now and then while image files are read.

    Raises:
        UsageError: `test` is given with anything but a CSV file.
        DataError: there is no dataset, more than one, or one with a fault.
    """
    with contextlib.suppress(RuntimeError):  # an unknown user: a path that does not exist
        path = path.expanduser()
    path = Path(os.path.abspath(path))  # noqa: PTH100, Path.resolve would follow links
    try:
        kind, found = _recognise(path, fit, test, announce)
        if test is not None and kind != "csv":
            raise UsageError(
                f"--test {test} goes with a .csv file; {path} ({kind}) brings its own test split."
            )
        dataset = found()
        return dataset if test is None else dataclasses.replace(dataset, test_path=os.path.abspath(test))  # noqa: PTH100
    except OSError as error:
        raise DataError(
            f"{error.filename or path} cannot be read ({error.strerror or error}); check its permissions."
        ) from error


def _recognise(path: Path, fit: Fit, test: Path | None, announce: Callable[[str], None]) -> tuple[str, _Load]:
    if not path.exists():
        raise DataError(f"{path} does not exist; name {_WANTED}.")
    if path.is_dir():
        return _recognise_folder(path, fit, test, announce)
    if path.suffix == ".npz":
        return "npz", lambda: npz.load(path, fit)
    if path.name.endswith((".csv", ".csv.gz")):
        return "csv", lambda: csv_table.load(path, fit, test)
    raise DataError(f"{path} is no dataset that can be read; name {_WANTED}.")


def _recognise_folder(
    folder: Path, fit: Fit, test: Path | None, announce: Callable[[str], None]
) -> tuple[str, _Load]:
    from jaxmnist.data import image_folder  # Pillow takes a while to import

    found: list[tuple[str, _Load]] = []
    sets = _idx_sets(folder)
    if len(sets) > 1:
        names = ", ".join(str(place / f"{prefix}*") for place, prefix in sets)
        raise DataError(
            f"{folder} holds several datasets ({names}); name one's folder, or for EMNIST give --dataset "
            f"emnist/letters, say, and --data-dir."
        )
    if sets:
        found.append(("IDX", lambda: _load_idx(folder, *sets[0], fit)))
    for suffixes in ((".npz",), (".csv", ".csv.gz")):
        files = sorted(entry for entry in folder.iterdir() if entry.name.endswith(suffixes))
        # Of Kaggle's files the one to train on knows the other.
        trained_on = [file for file in files if "train" in file.name]
        if len(files) > 1 and len(trained_on) == 1:
            files = trained_on
        if len(files) > 1:
            raise DataError(f"{folder} holds {', '.join(file.name for file in files)}; name one of them.")
        found.extend(_recognise(file, fit, test, announce) for file in files)
    if image_folder.is_one(folder):
        found.append(("folder of images", lambda: image_folder.load(folder, fit, announce)))
    if not found:
        raise DataError(f"{folder} holds no dataset that can be read; put {_WANTED} there.")
    if len(found) > 1:
        kinds = " and ".join(kind for kind, _ in found)
        raise DataError(f"{folder} holds two kinds of data ({kinds}); move one of them to another folder.")
    return found[0]


def _idx_sets(folder: Path) -> list[tuple[Path, str]]:
    """Finds IDX datasets in a folder and where torchvision puts them: the folders, and what file names begin with."""
    places = [folder, folder / "raw", *sorted(folder.glob("*/raw"))]
    return [(place, prefix) for place in places if place.is_dir() for prefix in sorted(idx.prefixes(place))]


def _load_idx(folder: Path, place: Path, prefix: str, fit: Fit) -> Dataset:
    name = next((name for name in CLASSES if prefix == emnist.prefix(name)), None)
    if name is None:
        arrays, classes = idx.read_folder(place, prefix, _MOST_LABELS), None
    else:
        arrays, classes = emnist.read(place, name), CLASSES[name]
    parts = {}
    for split, files, start in (("train", idx.TRAIN_FILES, 0), ("test", idx.TEST_FILES, 2)):
        images: np.ndarray = npz.fitted(arrays[start], fit)
        parts[split] = Part(images, arrays[start + 1], str(idx.find(place, files[0], prefix)))
    return assemble(folder, "IDX", parts, fit, classes)
