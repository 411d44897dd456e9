"""Datasets as NumPy arrays, from the first place that has them: a folder, the TFDS cache, a download."""

import contextlib
import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from jaxmnist.data import digits, idx, tfds
from jaxmnist.data.checksums import DOWNLOADS
from jaxmnist.data.dataset import CLOTHING, NUM_CLASSES, Dataset, DataUnavailableError
from jaxmnist.errors import DataError, unknown_name

__all__ = ["CLOTHING", "DATASETS", "NUM_CLASSES", "DataUnavailableError", "Dataset", "load_dataset"]

DATASETS = ("mnist", "fashion_mnist", "digits")

_VARIABLE = "JAXMNIST_DATA_DIR"
_WANTED = f"{', '.join(idx.FILE_NAMES)} (plain or .gz)"


def _print_to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def load_dataset(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    base_url: str | None = None,
    announce: Callable[[str], None] = _print_to_stderr,
    download: bool = True,
) -> Dataset:
    """Loads a dataset: uint8 images `[N, 28, 28]` and int32 labels `[N]`, for train and test.

    Args:
        name: one of `DATASETS`; `digits` is embedded in scikit-learn and ignores the other arguments.
        data_dir: folder with the four IDX files, plain or .gz, in it or in a subfolder called `name`. Without it
            the folder `JAXMNIST_DATA_DIR`, the TensorFlow Datasets cache and a download are tried, in this order.
        base_url: mirror to download from.
        announce: called with one line when a download starts.
        download: False keeps off the network.

    Raises:
        UsageError: the name is unknown.
        DataError: files are damaged, incomplete or of another dataset, or `data_dir` lacks them; no later place
            is tried instead.
        DataUnavailableError: no place has the dataset.
    """
    if name not in DATASETS:
        raise unknown_name("dataset", name, DATASETS)
    if name == "digits":
        return digits.load()
    if data_dir is not None:
        found = _from_folder(name, data_dir)
        if isinstance(found, str):
            raise DataError(
                f"--data-dir {data_dir} has no {name} ({found}); put {_WANTED} there or in its subfolder "
                f"{name}, or leave the option out to look elsewhere and download them."
            )
        return found
    return _search(name, base_url, announce, download)


def _search(name: str, base_url: str | None, announce: Callable[[str], None], download: bool) -> Dataset:
    tried = [f"{_VARIABLE} (not set)"]
    if folder := os.environ.get(_VARIABLE):
        found = _from_folder(name, folder)
        if isinstance(found, Dataset):
            return found
        tried = [f"{_VARIABLE}={folder} ({found})"]
    try:
        root = tfds.cache_root()
        if tfds.is_prepared(name, root):
            return tfds.read(name, root)
        tried.append(f"the TensorFlow Datasets cache {root} (not in there)")
        if download:
            tfds.download(name, root, base_url, announce)
            return tfds.read(name, root)
    except DataUnavailableError as error:
        if not download:
            raise
        raise DataUnavailableError(
            f"{name} was found nowhere (tried {', '.join(tried)} and a download: {error}); connect to the "
            f"network, or put {_WANTED} in a folder and name it with --data-dir or {_VARIABLE}."
        ) from error
    raise DataUnavailableError(
        f"{name} is not on this machine (tried {', '.join(tried)}); train downloads it, or put {_WANTED} "
        f"in a folder and name it with --data-dir or {_VARIABLE}."
    )


def _from_folder(name: str, data_dir: str | os.PathLike[str]) -> Dataset | str:
    """Reads the dataset, or returns in a few words why the folder lacks it; `DataError` if it is damaged."""
    folder = Path(data_dir)
    with contextlib.suppress(RuntimeError):  # an unknown user: a folder that does not exist
        folder = folder.expanduser()  # no shell expands the tilde of --data-dir=~/data
    try:
        if not folder.is_dir():
            return "no such folder"
        for place in (folder / name, folder):
            if any(idx.find(place, file_name) for file_name in idx.FILE_NAMES):
                dataset = idx.read_folder(place, name)
                break
        else:
            return "none of the four files is in it"
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror}); check its permissions.") from error
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
