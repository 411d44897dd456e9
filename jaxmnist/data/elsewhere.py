"""Copies of a dataset that other programs left in their usual places: TFDS's own, torchvision's, Keras's, Kaggle's.

Nobody asked for these files. One that is damaged, or is not the published dataset, is named and left alone.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from jaxmnist.data import csv_table, idx_folder, npz, tfds_prepared
from jaxmnist.data.connectivity import root_cause
from jaxmnist.data.dataset import CLASSES, Dataset
from jaxmnist.data.idx_folder import is_published
from jaxmnist.errors import DataError

_HERE = (".", "data", "datasets", "archive", "../data")
"""Folders, seen from the working one, in which programs that download MNIST put it; `archive` is Kaggle's."""
_AT_HOME = ("data", "datasets", ".pytorch")

_Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
_Candidate = tuple[str, Path, Callable[[], _Arrays | Dataset | None]]
"""Origin, place and reader of files that may be a copy."""


def find(name: str, tfds_root: Path, announce: Callable[[str], None]) -> Dataset | list[str]:
    """Looks for a copy of a dataset.

    Args:
        name: the dataset, one with a download.
        tfds_root: cache of TensorFlow Datasets.
        announce: called with a line that names the copy that is used, or one that cannot be.

    Returns:
        The dataset; or without a copy the places that hold something else, as phrases with the reason.
    """
    tried = []
    for what, place, read in _candidates(name, tfds_root):
        try:
            found = read()
            if found is None:
                continue
            if isinstance(found, Dataset):
                place, found = Path(found.source.removeprefix(idx_folder.SOURCE)), found.arrays
            dataset = Dataset(name, *found, f"{place} ({what})", CLASSES[name])
            reason = None if is_published(dataset) else "is not the published dataset"
        # The files are of many programs; their readers raise many kinds.
        except Exception as error:
            is_ours = isinstance(error, DataError | tfds_prepared.UnreadableError)
            dataset, reason = (
                None,
                str(error).rstrip(".") if is_ours else f"cannot be read ({root_cause(error)})",
            )
        if dataset is not None and reason is None:
            announce(f"Using {name} from {place} ({what}).")
            return dataset
        tried.append(f"{place} ({what}: {reason})")
        announce(f"Not using {place} ({what}): {reason}.")
    return tried


def _candidates(name: str, tfds_root: Path) -> Iterator[_Candidate]:
    """Yields origin, place and reader of all files that may be copies; a reader returns None if there are none."""
    if (folder := tfds_prepared.find(name, tfds_root)) is not None:
        yield "as TFDS prepared it", folder, lambda: _of_tfds(name, folder)
    for base in _bases():
        yield "files of torchvision or Kaggle", base, lambda base=base: _of_folder(name, base)
        for file in _csv_files(name, base):
            yield "Kaggle's table", file, lambda file=file: csv_table.load(file, "pad", None).arrays
    yield from _of_keras(name)


def _bases() -> list[Path]:
    """Returns existing folders in which copies may be, without repetitions."""
    bases = [Path(folder) for folder in _HERE]
    try:
        home = Path.home()
        bases += [home / folder for folder in _AT_HOME]
        hub = Path(os.environ.get("KAGGLEHUB_CACHE") or home / ".cache" / "kagglehub", "datasets")
        bases += sorted(hub.glob("*/*/versions/*"))
    except (RuntimeError, OSError):  # no home folder, or another user's
        pass
    kaggle = Path(os.environ.get("KAGGLE_INPUT") or "/kaggle/input")
    bases += sorted(kaggle.glob("*")) if kaggle.is_dir() else []
    return list({base.resolve(): base for base in bases if _is_folder(base)}.values())


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir() and os.access(path, os.R_OK | os.X_OK)
    except OSError:
        return False


def _of_tfds(name: str, folder: Path) -> _Arrays:
    if name not in ("mnist", "fashion_mnist", "kmnist"):
        raise tfds_prepared.UnreadableError(
            "is not read, as its images lie on their sides; it is downloaded instead"
        )
    return tfds_prepared.read(folder)


def _of_folder(name: str, base: Path) -> Dataset | None:
    found = idx_folder.read(name, base)
    return found if isinstance(found, Dataset) else None


def _csv_files(name: str, base: Path) -> list[Path]:
    """Returns the tables of training images in a folder that have another one of test images beside them."""
    word = name.replace("_", "-")
    files = (base / f"{word}_train.csv", base / f"{name}_train.csv")
    return [file for file in dict.fromkeys(files) if file.is_file()]


def _of_keras(name: str) -> Iterator[_Candidate]:
    try:
        root = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras", "datasets")
    except RuntimeError:
        return
    if name == "mnist" and (file := root / "mnist.npz").is_file():
        yield "Keras's file", file, lambda: npz.load(file, "pad").arrays
    if name == "fashion_mnist" and _is_folder(folder := root / "fashion-mnist"):
        yield "Keras's files", folder, lambda: _of_folder(name, folder)
