"""Datasets as NumPy arrays, from the first place that has them: a folder, the TFDS cache, a download."""

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from jaxmnist.data import digits, idx, tfds
from jaxmnist.data.checksums import PUBLISHED
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
    """Loads `name`: uint8 images `[N, 28, 28]` and int32 labels `[N]`, for train and test.

    Looks in `data_dir`, or without it in the folder `JAXMNIST_DATA_DIR`, then in the TensorFlow Datasets
    cache, and then downloads (from the mirror `base_url` if given). A folder has the four IDX files, plain or
    .gz, in it or in a subfolder called `name`. `digits` is embedded in scikit-learn and needs none of this.
    `announce` gets one line when a download starts; without `download` there is none, and no network is used.

    Raises `UsageError` for an unknown name, `DataError` for files that are damaged, incomplete or of another
    dataset and for a `data_dir` without them (a later place is never tried instead), and its subclass
    `DataUnavailableError` when no place has the dataset.
    """
    if name not in DATASETS:
        raise unknown_name("dataset", name, DATASETS)
    if name == "digits":
        return digits.load()
    if data_dir is not None:
        found = _from_folder(name, _expanded(data_dir))
        if isinstance(found, str):
            raise DataError(
                f"--data-dir {data_dir} has no {name} ({found}); put {_WANTED} there or in its subfolder "
                f"{name}, or leave the option out to look elsewhere and download them."
            )
        return found
    return _search(name, base_url, announce, download)


def _search(name: str, base_url: str | None, announce: Callable[[str], None], download: bool) -> Dataset:
    """All places but the one the user named for this call."""
    tried = []
    if folder := os.environ.get(_VARIABLE):
        found = _from_folder(name, _expanded(folder))
        if isinstance(found, Dataset):
            return found
        tried.append(f"{_VARIABLE}={folder} ({found})")
    else:
        tried.append(f"{_VARIABLE} (not set)")
    try:
        root = tfds.cache_root()
        if not tfds.is_prepared(name, root):
            tried.append(f"the TensorFlow Datasets cache {root} (not in there)")
            if not download:
                raise DataUnavailableError(
                    f"{name} is not on this machine (tried {', '.join(tried)}); train downloads it, or put {_WANTED} "
                    f"in a folder and name it with --data-dir or {_VARIABLE}."
                )
            tfds.download(name, root, base_url, announce)
        return tfds.read(name, root)
    except DataUnavailableError as error:
        if not download:
            raise
        raise DataUnavailableError(
            f"{name} was found nowhere (tried {', '.join(tried)} and a download: {error}); connect to the "
            f"network, or put {_WANTED} in a folder and name it with --data-dir or {_VARIABLE}."
        ) from error


def _expanded(folder: str | os.PathLike[str]) -> Path:
    """`--data-dir=~/data` reaches us with its tilde."""
    try:
        return Path(folder).expanduser()
    except RuntimeError:  # no such user: reported as the folder that does not exist
        return Path(folder)


def _from_folder(name: str, folder: Path) -> Dataset | str:
    """The dataset, or in a few words why the folder does not have it; `DataError` when it is damaged."""
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
    # Files of every IDX dataset have the same names, so a folder of one passes for another.
    if place == folder:
        return f"its files are those of {actual}"
    raise DataError(f"{place} holds the files of {actual}, not {name}; move them to {folder / actual}.")


def _published_name(dataset: Dataset) -> str | None:
    """Which published dataset this is, going by its training labels; None for anybody's own."""
    digest = hashlib.sha256(dataset.train_labels.astype(np.uint8).tobytes()).hexdigest()
    return next((name for name, known in PUBLISHED.items() if known.train_labels_sha256 == digest), None)
