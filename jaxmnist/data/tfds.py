"""The cache of TensorFlow Datasets, and downloads into it, verified by SHA-256; TensorFlow is not needed.

tensorflow_datasets is imported inside functions, so that a look into the cache costs nothing.
"""

import contextlib
import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from jaxmnist.data import emnist
from jaxmnist.data.checksums import VERSION, download_of
from jaxmnist.data.connectivity import root_cause, why_unreachable
from jaxmnist.data.dataset import CLASSES, Dataset, DataUnavailableError
from jaxmnist.errors import DataError
from jaxmnist.runtime.reading import read_json, require_regular_tree

_MAX_BYTES = 2**30
"""Most bytes of a prepared dataset; the largest, EMNIST, has half of that."""


def cache_root() -> Path:
    """Folder of TensorFlow Datasets: `TFDS_DATA_DIR`, or `~/tensorflow_datasets`.

    Raises:
        DataUnavailableError: there is no home folder.
    """
    try:
        if folder := os.environ.get("TFDS_DATA_DIR"):
            return Path(folder).expanduser().absolute()
        return Path.home() / "tensorflow_datasets"
    except RuntimeError as error:
        raise DataUnavailableError(
            "there is no home folder for the TensorFlow Datasets cache; set TFDS_DATA_DIR to a folder"
        ) from error


def prepared_folder(name: str, root: Path) -> Path:
    """Folder of a prepared dataset; the six of EMNIST share one, with the archive in it."""
    return root / f"jaxmnist_{name.partition('/')[0]}" / VERSION


def is_prepared(name: str, root: Path) -> bool:
    """True if a dataset is in the cache, and then it is whole: TFDS renames complete folders into place."""
    try:
        return prepared_folder(name, root).is_dir()
    except OSError:  # another user's folder
        return False


def read(name: str, root: Path) -> Dataset:
    """Reads a prepared dataset, MNIST in 2 seconds.

    Raises:
        DataError: the cache does not hold the published dataset.
        DataUnavailableError: tensorflow-datasets cannot be imported.
    """
    folder = prepared_folder(name, root)
    try:
        require_regular_tree(folder, _MAX_BYTES)  # TFDS opens what is there
        dataset = _read(name, root)
        expected = _expected_fingerprint(name, folder)
    except ImportError as error:
        reason = f"{folder} cannot be read without tensorflow-datasets ({error})"
        raise DataUnavailableError(reason) from error
    # array_record, protobuf and TFDS each raise their own types for damaged files, RuntimeError among them.
    except Exception as error:
        raise _damaged(folder, root_cause(error)) from error
    if expected not in (None, dataset.fingerprint):
        raise _damaged(folder, "its contents are not the published ones")
    return dataset


def download(name: str, root: Path, base_url: str | None, announce: Callable[[str], None]) -> None:
    """Downloads the files of a dataset, verifies them and prepares the cache.

    A failure or an interruption leaves no file behind.

    Args:
        name: the dataset.
        root: folder of the cache.
        base_url: mirror to use instead of the published address, or None.
        announce: called with one line when the download starts.

    Raises:
        DataError: a file is not the published one.
        DataUnavailableError: the files cannot be fetched (within 10 seconds if the network is down), or the cache
            cannot be written.
    """
    source = download_of(name)
    base_url = f"{(base_url or source.base_url).rstrip('/')}/"
    smallest = min(source.files, key=lambda file: file.size)
    try:
        if reason := why_unreachable(base_url + smallest.name):
            raise DataUnavailableError(f"{base_url} cannot be reached ({reason})")
        announce(f"Downloading {name} ({source.size / 1e6:.0f} MB) from {base_url} to {root}")
        _prepare(name, root, base_url)
    except DataError:
        raise
    # Anything that requests, TFDS and the file system raise: the caller needs the reason, not the type.
    except Exception as error:
        if is_prepared(name, root):  # another process was faster: a rename onto its result fails
            return
        raise DataUnavailableError(
            f"{base_url} could not be downloaded into {root}, which TFDS_DATA_DIR can change "
            f"({root_cause(error)})"
        ) from error


def _prepare(name: str, root: Path, base_url: str) -> None:
    import tensorflow_datasets as tfds

    from jaxmnist.data.tfds_builder import BUILDERS, download_archive

    target = prepared_folder(name, root)
    is_archive = name not in BUILDERS
    if is_archive:
        target.parent.mkdir(parents=True, exist_ok=True)
    # Downloads go to a temporary folder: the cache holds the same data, and TFDS would leave files with wrong
    # checksums behind. Its prints and its dozen progress bars would mix with `--json` and our own output.
    with (
        tempfile.TemporaryDirectory(
            prefix="jaxmnist-", ignore_cleanup_errors=True, dir=target.parent if is_archive else None
        ) as folder,
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        if is_archive:  # kept as it is: to store all six again would take their room twice
            whole = Path(folder, "whole")
            whole.mkdir()
            download_archive(folder, base_url, download_of(name)).rename(whole / emnist.ARCHIVE)
            whole.rename(target)
        else:
            config = tfds.download.DownloadConfig(try_download_gcs=False, force_checksums_validation=True)
            builder = BUILDERS[name](root, base_url)
            builder.download_and_prepare(
                download_dir=folder, download_config=config, file_format="array_record"
            )


def _read(name: str, root: Path) -> Dataset:
    source = f"the TensorFlow Datasets cache {prepared_folder(name, root)}"
    is_archive = name.startswith("emnist/")
    arrays = emnist.read(prepared_folder(name, root), name) if is_archive else _read_records(name, root)
    return Dataset(name, *arrays, source, CLASSES[name])


def _read_records(name: str, root: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    import tensorflow_datasets as tfds
    from tensorflow_datasets.proto import tf_example_pb2

    from jaxmnist.data.tfds_builder import BUILDERS

    builder = BUILDERS[name](root)
    arrays = []
    for split in ("train", "test"):
        # All records at once, parsed here: 1.3 s for MNIST, against 4 s through TFDS's own decoding.
        source = builder.as_data_source(split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)
        pixels, labels = [], []
        for record in source.__getitems__(range(len(source))):
            example = tf_example_pb2.Example.FromString(record)  # pyright: ignore[reportAttributeAccessIssue]
            feature = example.features.feature
            pixels.append(feature["image"].bytes_list.value[0])
            labels.append(feature["label"].int64_list.value[0])
        arrays.append(np.frombuffer(b"".join(pixels), np.uint8).reshape(len(labels), 28, 28))
        arrays.append(np.array(labels, np.int32))
    train_images, train_labels, test_images, test_labels = arrays
    return train_images, train_labels, test_images, test_labels


def _expected_fingerprint(name: str, folder: Path) -> str | None:
    """Fingerprint of what was prepared; None for EMNIST, whose archive has checksums of its own."""
    if name.startswith("emnist/"):
        return None
    return download_of(name).fingerprint or read_json(folder / "metadata.json")["fingerprint"]


def _damaged(folder: Path, reason: str) -> DataError:
    return DataError(
        f"{folder} is damaged ({reason}); delete that folder and run again to download it afresh, or point "
        f"--data-dir at the IDX files."
    )
