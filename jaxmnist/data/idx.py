"""Strict reader of IDX files, plain or gzip: the format of MNIST.

The format (http://yann.lecun.com/exdb/mnist): two zero bytes, one byte for the element type, one for the
number of dimensions, each dimension as a big-endian 32-bit number, then the elements. The first bytes of a file
tell if it is gzip, because browsers unpack `.gz` downloads without renaming them.
"""

import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Int32, UInt8

from jaxmnist.data.dataset import NUM_CLASSES
from jaxmnist.errors import DataError
from jaxmnist.runtime.reading import UnsuitableFileError, open_regular

TRAIN_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
TEST_FILES = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
FILE_NAMES = TRAIN_FILES + TEST_FILES

Place = Path | zipfile.Path
"""A file or folder on the disk, or in a zip archive."""

MAX_ITEMS = 1_000_000
"""Most images or labels that a header may promise, and no more than promised is read: a few megabytes of gzip can
unpack to gigabytes. EMNIST has 814,255 in all."""

_NAME = re.compile(r"(|.+[-_])(?:train|t10k|test)-(?:images|labels)[-.]idx[13]-ubyte(?:\.gz)?")

_PIECE = 2**20  # bytes read at once

_REMEDY = (
    "replace it with a fresh copy, or name another place with --dataset or --data-dir (JAXMNIST_DATA_DIR)"
)
_GZIP_MAGIC = b"\x1f\x8b"
_UINT8 = 8
_ELEMENT_TYPES = {8: "uint8", 9: "int8", 11: "int16", 12: "int32", 13: "float32", 14: "float64"}
_CONTENTS = {1: "labels", 3: "images"}


def find(folder: Place, file_name: str, prefix: str = "") -> Place | None:
    """Finds a file under any of the names in use, plain or .gz, the plain file first as it is faster.

    Besides `file_name` itself, that is `train-images.idx3-ubyte`, EMNIST's `test-` for `t10k-`, and Kaggle's folder of
    the name with the file of the name in it.

    Args:
        folder: the folder.
        file_name: one of `FILE_NAMES`.
        prefix: what comes before these names, "emnist-letters-" say.
    """
    names = [prefix + split for split in dict.fromkeys((file_name, file_name.replace("t10k", "test")))]
    spellings = [*names, *(name.replace("-idx", ".idx") for name in names)]
    places = (
        place / f"{name}{suffix}"
        for name in spellings
        for place in (folder, folder / name)
        for suffix in ("", ".gz")
    )
    return next((place for place in places if place.exists() and not place.is_dir()), None)


def prefixes(folder: Path) -> set[str]:
    """Finds the IDX datasets in a folder: what comes before the names of `FILE_NAMES`, "" for the names alone."""
    return {match[1] for entry in folder.iterdir() if (match := _NAME.fullmatch(entry.name))}


def read_images(path: Place) -> UInt8[np.ndarray, "n 28 28"]:
    """Reads an IDX file of 28x28 images.

    Raises:
        DataError: the file is anything else.
    """
    return _read(path, num_dims=3)


def read_labels(path: Place, num_classes: int = NUM_CLASSES) -> Int32[np.ndarray, " n"]:
    """Reads an IDX file of labels below `num_classes`.

    Raises:
        DataError: the file is anything else.
    """
    labels = _read(path, num_dims=1)
    wrong = np.flatnonzero(labels >= num_classes)
    if wrong.size:
        range_ = f"labels go from 0 to {num_classes - 1}"
        finding = f"holds the label {labels[wrong[0]]} at position {wrong[0]} where {range_}"
        raise _error(path, finding)
    return labels.astype(np.int32)


def read_pair(
    images_path: Place, labels_path: Place, num_classes: int = NUM_CLASSES
) -> tuple[np.ndarray, np.ndarray]:
    """Reads images, uint8 `[n, 28, 28]`, and their labels, int32 `[n]`.

    Raises:
        DataError: a file is damaged, or the two do not belong together.
    """
    images, labels = read_images(images_path), read_labels(labels_path, num_classes)
    if len(images) != len(labels):
        raise DataError(
            f"{images_path} holds {len(images):,} images and {labels_path} holds {len(labels):,} labels "
            f"where each image has one label; replace both with files from the same download."
        )
    return images, labels


def read_folder(
    folder: Place, prefix: str = "", num_classes: int = NUM_CLASSES
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Reads the four files `FILE_NAMES` under any name that `find` knows, in their order.

    Args:
        folder: the folder.
        prefix: see `find`.
        num_classes: number that the labels stay below.

    Raises:
        DataError: a file is missing or damaged.
    """
    paths = [find(folder, file_name, prefix) for file_name in FILE_NAMES]
    missing = [prefix + file_name for file_name, path in zip(FILE_NAMES, paths, strict=True) if path is None]
    if missing:
        raise DataError(
            f"{folder} has no {', '.join(missing)} (plain or .gz); put the missing files there or point "
            f"--data-dir (JAXMNIST_DATA_DIR) at a folder with all four."
        )
    train_images, train_labels, test_images, test_labels = (path for path in paths if path)
    return (
        *read_pair(train_images, train_labels, num_classes),
        *read_pair(test_images, test_labels, num_classes),
    )


def _read(path: Place, num_dims: int) -> np.ndarray:
    with open_file(path) as stream:
        array = np.empty(_read_shape(path, stream, num_dims), np.uint8)
        # Piece by piece into the array: a single read would hold everything twice.
        rest = memoryview(array.data).cast("B")
        while count := stream.readinto(rest[:_PIECE]):
            rest = rest[count:]
        # One byte more than promised finds trailing bytes, and makes gzip check the CRC at the end of the stream.
        is_longer = not rest and stream.read(1)
    if rest or is_longer:
        found = "more" if is_longer else f"only {array.nbytes - len(rest):,}"
        raise _error(path, f"holds {found} bytes of data where its header promises {array.nbytes:,}")
    return array


def _read_shape(path: Place, stream: io.BufferedIOBase, num_dims: int) -> tuple[int, ...]:
    """Reads and checks the header before any data is read."""
    wanted = f"an IDX file of {_CONTENTS[num_dims]}"
    header = stream.read(4 + 4 * num_dims)
    if not header:
        raise _error(path, f"is empty where {wanted} was expected")
    if header.lstrip().startswith(b"<"):
        raise _error(path, f"is a web page (it starts with {header[:12]!r}) where {wanted} was expected")
    magic = header[:4]
    if len(magic) < 4 or magic[:2] != b"\0\0":
        found = magic.hex(" ")
        raise _error(path, f"starts with the bytes {found} where {wanted} starts with 00 00 08 0{num_dims}")
    if magic[2] != _UINT8:
        element = _ELEMENT_TYPES.get(magic[2], f"type 0x{magic[2]:02x}")
        raise _error(path, f"holds {element} elements where uint8 was expected")
    if magic[3] != num_dims:
        swapped = f" ({_CONTENTS[magic[3]]}: are images and labels swapped?)" if magic[3] in _CONTENTS else ""
        raise _error(path, f"has {magic[3]} dimensions{swapped} where {wanted} has {num_dims}")
    if len(header) < 4 + 4 * num_dims:
        raise _error(path, f"ends inside its header, after {len(header)} bytes")
    shape = tuple(int(size) for size in np.frombuffer(header, ">u4", offset=4))
    if num_dims == 3 and shape[1:] != (28, 28):
        raise _error(path, f"holds images of {shape[1]}x{shape[2]} pixels where 28x28 was expected")
    if shape[0] == 0:
        raise _error(path, f"holds no {_CONTENTS[num_dims]} at all")
    if shape[0] > MAX_ITEMS:
        finding = f"promises {shape[0]:,} {_CONTENTS[num_dims]} where at most {MAX_ITEMS:,} are read"
        raise _error(path, finding)
    return shape


@contextmanager
def open_file(path: Place) -> Iterator[io.BufferedIOBase]:
    """Opens a plain or gzip file; any fault of it, also while it is read, becomes a `DataError`."""
    try:
        with open_regular(path) if isinstance(path, Path) else path.open("rb") as raw:
            is_gzip = raw.read(2) == _GZIP_MAGIC
            raw.seek(0)
            yield gzip.GzipFile(fileobj=raw) if is_gzip else cast("io.BufferedIOBase", raw)
    except EOFError as error:
        raise _error(path, "is cut short: its gzip stream ends before the end marker") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise _error(path, f"is damaged inside its gzip stream ({error})") from error
    except zipfile.BadZipFile as error:
        raise _error(path, f"is damaged inside its zip archive ({error})") from error
    except UnsuitableFileError as error:
        raise _error(path, f"{str(error).removeprefix('it ')} where a file was expected") from error
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror or error}); check that it exists and that you may read "
            f"it, or point --data-dir (JAXMNIST_DATA_DIR) at another folder."
        ) from error


def _error(path: Place, finding: str) -> DataError:
    return DataError(f"{path} {finding}; {_REMEDY}.")
