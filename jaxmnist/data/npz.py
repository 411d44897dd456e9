"""Datasets in `.npz` files of NumPy, and images as arrays of other shapes and types.

Arrays go by the names of Keras (`x_train`, `y_train`, `x_test`, `y_test`), or by those of MedMNIST (`train_images`,
`train_labels`, `test_images`, `test_labels`, and `val_images`, `val_labels`). `classes` may hold the classes' names.
Without test images a share of the training images is held out. Nothing is unpickled.
"""

import math
from pathlib import Path

import numpy as np
from jaxtyping import UInt8, UInt64

from jaxmnist.data.assemble import Part, assemble, content_hash
from jaxmnist.data.dataset import Dataset, Fit
from jaxmnist.data.fitting import to_28x28
from jaxmnist.data.idx import MAX_ITEMS
from jaxmnist.errors import DataError
from jaxmnist.runtime.npz import NpzError, read_npz
from jaxmnist.runtime.reading import UnsuitableFileError

_SPLITS = ("train", "val", "test")
_MAX_BYTES = 2**34
"""Most bytes of all arrays; a few megabytes can unpack to more than any memory."""
_PIECE = 10_000


def load(path: Path, fit: Fit) -> Dataset:
    """Loads the dataset in an `.npz` file.

    Raises:
        DataError: the file is damaged or no `.npz`, lacks an array, or holds something else than images and labels.
    """
    arrays = _read(path)
    has_test = not arrays.keys().isdisjoint(("x_test", "test_images"))
    parts: dict[str, Part] = {}
    for split in _SPLITS:
        names = [name for name in (f"x_{split}", f"{split}_images") if name in arrays]
        if not names:
            continue
        images_name, labels_name = names[0], f"y_{split}" if names[0][0] == "x" else f"{split}_labels"
        if labels_name not in arrays:
            raise DataError(f"{path} has {images_name} and no {labels_name}; add the labels.")
        place = f"{path} ({images_name}, {labels_name})"
        images, labels = to_grey_images(arrays.pop(images_name), place), arrays[labels_name]
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if labels.shape != images.shape[:1] or labels.dtype.kind not in "biufU":
            raise DataError(
                f"{place} has {len(images):,} images and labels of type {labels.dtype} and shape {list(labels.shape)}; "
                "give each image one number or word."
            )
        hashes = None if has_test else hash_each(images)
        parts[split] = Part(fitted(images, fit), labels, place, hashes)
    if "train" not in parts:
        raise DataError(
            f"{path} holds {', '.join(sorted(arrays)) or 'no arrays'}; it needs x_train and y_train, or train_images "
            "and train_labels, and the same for test."
        )
    classes = arrays.get("classes")
    return assemble(
        path, "npz", parts, fit, None if classes is None else [str(name) for name in classes.flat]
    )


def to_grey_images(array: np.ndarray, place: str) -> UInt8[np.ndarray, "n height width"]:
    """Converts images to grey values, as those of an image file are.

    Args:
        array: `[n, height, width]`, or with a last axis of 1, or of 3 for colours (luminance, ITU-R 601), or
            `[n, pixels]` of a square; whole numbers of 0..255, or any of 0..1.
        place: origin of the images, for messages.

    Raises:
        DataError: the shape or a value is another.
    """
    shape, kind = array.shape, array.dtype.kind
    if array.ndim == 2 and (side := math.isqrt(shape[1])) ** 2 == shape[1]:
        array = array.reshape(-1, side, side)
    if array.ndim == 4 and shape[3] == 1:
        array = array[..., 0]
    is_colour = array.ndim == 4 and shape[3] == 3
    if not (is_colour or array.ndim == 3) or 0 in shape[1:] or kind not in "biuf":
        raise DataError(
            f"{place} has images of type {array.dtype} and shape {list(shape)}; make them [n, 28, 28], [n, 28, 28, 1] "
            "or [n, 28, 28, 3] of uint8, or of floats from 0 to 1."
        )
    if len(array) > MAX_ITEMS:
        raise DataError(f"{place} has {len(array):,} images where at most {MAX_ITEMS:,} are read.")
    if array.dtype == np.uint8 and not is_colour:
        return array
    low, high = (float(array.min()), float(array.max())) if len(array) else (0, 0)
    white = 1 if kind == "b" or (kind == "f" and high <= 1) else 255
    pieces = [np.zeros((0, *array.shape[1:3]), np.uint8)]
    for start in range(0, len(array), _PIECE):
        piece = array[start : start + _PIECE]
        is_whole = kind != "f" or white == 1 or bool(np.all(piece == np.floor(piece)))
        if not (low >= 0 and high <= white and is_whole):
            raise DataError(
                f"{place} has pixels from {low:g} to {high:g} ({array.dtype}); make them whole numbers from 0 to 255, "
                "or floats from 0 to 1."
            )
        if white == 1:
            piece = np.round(255 * piece.astype(np.float64))
        if is_colour:  # with Pillow's rounding
            piece = (piece.astype(np.uint32) @ np.array([19595, 38470, 7471], np.uint32) + 0x8000) >> 16
        pieces.append(piece.astype(np.uint8))
    return np.concatenate(pieces)


def fitted(images: UInt8[np.ndarray, "n height width"], fit: Fit) -> UInt8[np.ndarray, "n 28 28"]:
    """Converts grey images to 28x28; see `jaxmnist.data.fitting.to_28x28`."""
    if not len(images) or (images.shape[1:] == (28, 28) and fit != "mnist"):
        return images.reshape(-1, 28, 28)
    return np.stack([to_28x28(image, fit) for image in images])


def hash_each(images: UInt8[np.ndarray, "n height width"]) -> UInt64[np.ndarray, " n"]:
    """Hashes the contents of each image."""
    return np.array([content_hash(image.tobytes()) for image in images], np.uint64)


def _read(path: Path) -> dict[str, np.ndarray]:
    """Reads the arrays that are known by name."""
    known = {f"{axis}_{split}" for axis in "xy" for split in _SPLITS} | {"classes"}
    known |= {f"{split}_{content}" for split in _SPLITS for content in ("images", "labels")}
    try:
        return read_npz(path, _MAX_BYTES, known.__contains__)
    except NpzError as error:
        raise DataError(
            f"{path} cannot be read as .npz (it {error}); write it afresh with numpy.savez."
        ) from error
    except UnsuitableFileError as error:
        raise DataError(
            f"{path} cannot be read as .npz ({error}); write it afresh with numpy.savez."
        ) from error
