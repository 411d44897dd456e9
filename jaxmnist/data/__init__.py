"""Datasets as NumPy arrays: by name, from the first place that has them; or by path, in any format in use."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from jaxmnist.data import digits, elsewhere, emnist, idx, idx_folder, own_data, tfds
from jaxmnist.data.dataset import CLASSES, CLOTHING, DIGITS, NUM_CLASSES, Dataset, DataUnavailableError, Fit
from jaxmnist.errors import DataError, UsageError, one_line, unknown_name

__all__ = [
    "CLASSES",
    "CLOTHING",
    "DATASETS",
    "DIGITS",
    "NUM_CLASSES",
    "DataUnavailableError",
    "Dataset",
    "Fit",
    "is_path",
    "load_dataset",
]

DATASETS = tuple(CLASSES)

_VARIABLE = "JAXMNIST_DATA_DIR"


def _print_to_stderr(line: str) -> None:
    print(one_line(line), file=sys.stderr, flush=True)


def is_path(name: str | os.PathLike[str]) -> bool:
    """True if a dataset is named by a path: it exists, or contains a separator; the names in `DATASETS` come first."""
    if not isinstance(name, str):
        return True
    if name in DATASETS or name.startswith("emnist/"):  # a misspelt one is no path
        return False
    is_there = bool(name) and os.path.exists(name)  # noqa: PTH110, Path.exists raises errors for impossible names
    return is_there or os.sep in name or (os.altsep or os.sep) in name


def load_dataset(
    name: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    *,
    fit: Fit | None = None,
    test: str | os.PathLike[str] | None = None,
    base_url: str | None = None,
    announce: Callable[[str], None] = _print_to_stderr,
    download: bool = True,
) -> Dataset:
    """Loads a dataset: uint8 images `[N, 28, 28]` and int32 labels `[N]`, for train and test.

    Args:
        name: one of `DATASETS`, or a path, see `jaxmnist.data.own_data`. `digits` is embedded in scikit-learn and
            ignores the other arguments.
        data_dir: folder of a dataset with a name: the four IDX files, plain or .gz, in it or in a subfolder called
            `name`. Without it the folder `JAXMNIST_DATA_DIR`, the TensorFlow Datasets cache, the places in
            which other programs keep their copies (see `jaxmnist.data.elsewhere`), and a download are tried, in this
            order.
        fit: the way the pictures of a path become 28x28; by default "pad".
        test: CSV file with the test split of a path that is a CSV file.
        base_url: mirror to download from.
        announce: called with a line when a download starts or another program's copy is used, and while thousands of
            image files are read.
        download: False keeps off the network.

    Raises:
        UsageError: the name is unknown, or an option does not go with it.
        DataError: files are damaged, incomplete or of another dataset, or `data_dir` lacks them; no later place
            is tried instead.
        DataUnavailableError: no place has the dataset.

    Example:
        >>> data = jaxmnist.load_dataset("digits")
        >>> data.train_images.shape, data.test_images.shape
        ((1500, 28, 28), (297, 28, 28))

    """
    if fit not in (None, *get_args(Fit)):
        raise unknown_name("fit", fit, get_args(Fit))
    if is_path(name):
        return own_data.load(Path(name), fit or "pad", None if test is None else Path(test), announce)
    name = str(name)
    if name not in DATASETS:
        raise unknown_name("dataset", name, [*DATASETS, "or the path of your own (a folder, .npz or .csv)"])
    for option, value in (("--fit", fit), ("--test", test)):
        if value is not None:
            raise UsageError(f"{option} {value} is for data of your own; leave it out with {name}.")
    if name == "digits":
        return digits.load()
    if data_dir is not None:
        found = idx_folder.read(name, data_dir)
        if isinstance(found, str):
            raise DataError(
                f"--data-dir {data_dir} has no {name} ({found}); put {_wanted(name)} there or in its subfolder "
                f"{name}, or leave the option out to look elsewhere and download them."
            )
        return found
    return _search(name, base_url, announce, download)


def _wanted(name: str) -> str:
    prefix = emnist.prefix(name) if name.startswith("emnist/") else ""
    archive = f", or {emnist.ARCHIVE}" if prefix else ""
    return f"{', '.join(prefix + file_name for file_name in idx.FILE_NAMES)} (plain or .gz){archive}"


def _search(name: str, base_url: str | None, announce: Callable[[str], None], download: bool) -> Dataset:
    tried = [f"{_VARIABLE} (not set)"]
    if folder := os.environ.get(_VARIABLE):
        found = idx_folder.read(name, folder)
        if isinstance(found, Dataset):
            return found
        tried = [f"{_VARIABLE}={folder} ({found})"]
    try:
        root = tfds.cache_root()
        if tfds.is_prepared(name, root):
            return tfds.read(name, root)
        tried.append(f"the TensorFlow Datasets cache {root} (not in there)")
        found = elsewhere.find(name, root, announce)
        if isinstance(found, Dataset):
            return found
        tried += found
        if download:
            tfds.download(name, root, base_url, announce)
            return tfds.read(name, root)
    except DataUnavailableError as error:
        if not download:
            raise
        raise DataUnavailableError(
            f"{name} was found nowhere (tried {', '.join(tried)} and a download: {error}); connect to the "
            f"network, or put {_wanted(name)} in a folder and name it with --data-dir or {_VARIABLE}."
        ) from error
    raise DataUnavailableError(
        f"{name} is not on this machine (tried {', '.join(tried)}); train downloads it, or put {_wanted(name)} "
        f"in a folder and name it with --data-dir or {_VARIABLE}."
    )
