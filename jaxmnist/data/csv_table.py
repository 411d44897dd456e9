"""Datasets in `.csv` and `.csv.gz` files: a row for each image, first its label, then its pixels from 0 to 255.

That is the form of Kaggle's digit recogniser, with or without a header. Labels may be words. The test split is in a
second file: the one that is named, or beside `train.csv` (or `mnist_train.csv`) the file `test.csv` (`mnist_test.csv`),
or beside `NAME.csv` the file `NAME_test.csv`. Without it a share of the rows is held out.
"""

import codecs
import math
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jaxmnist.data.assemble import Part, assemble
from jaxmnist.data.dataset import Dataset, Fit
from jaxmnist.data.idx import MAX_ITEMS, open_file
from jaxmnist.data.npz import fitted, hash_each, to_grey_images
from jaxmnist.errors import DataError

_PIECE = 2**24  # bytes read at once


def load(path: Path, fit: Fit, test: Path | None) -> Dataset:
    """Loads the dataset in a CSV file.

    Args:
        path: file with the training images.
        fit: see `jaxmnist.data.fitting.to_28x28`.
        test: file with the test images, if it has another name than those above.

    Raises:
        DataError: a file is damaged, or a row is not a label and the pixels of a square.
    """
    notes = []
    if test is None and (test := _find_test(path)) is not None and _is_unlabelled(_first_line(test)):
        notes = [f"{test} has pixels without labels, so the test images are a share of {path}."]
        test = None
    parts: dict[str, Part] = {}
    for split, file in (("train", path), ("test", test)):
        if file is not None:
            labels, pixels = _read(file)
            images = to_grey_images(pixels, str(file))
            hashes = hash_each(images) if test is None else None
            parts[split] = Part(fitted(images, fit), labels, str(file), hashes)
    return assemble(path, "csv", parts, fit, notes=notes)


def _find_test(path: Path) -> Path | None:
    stem = path.name.removesuffix(".gz").removesuffix(".csv")
    stems = [f"{stem}_test"]
    if "train" in stem:
        stems.insert(0, "test".join(stem.rsplit("train", 1)))
    files = (path.with_name(stem + suffix) for stem in stems for suffix in (".csv", ".csv.gz"))
    return next((file for file in files if file.is_file()), None)


def _first_line(path: Path) -> bytes:
    with open_file(path) as stream:
        return stream.readline(_PIECE)


def _is_unlabelled(line: bytes) -> bool:
    columns = line.count(b",") + 1
    return columns > 1 and math.isqrt(columns) ** 2 == columns


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels `[n]` as text and pixels `[n, height * width]` as numbers."""
    labels: list[str] = []
    pixels: list[np.ndarray] = []
    width = 0
    for first, lines in _lines(path):
        if first == 1:
            lines[0] = lines[0].removeprefix(codecs.BOM_UTF8)
            width = _width(path, lines[0])
            if _is_header(lines[0]):
                first, lines = 2, lines[1:]
        rows = [(first + index, line.strip()) for index, line in enumerate(lines) if line.strip()]
        if not rows:
            continue
        for number, line in rows:
            if line.count(b",") != width:
                raise DataError(
                    f"{path} has {line.count(b',') + 1} values in line {number} where {width + 1} are a label and "
                    f"{math.isqrt(width)}x{math.isqrt(width)} pixels; correct or remove that line."
                )
        divided = [line.partition(b",") for _, line in rows]
        values = _numbers(b",".join(rest for *_, rest in divided))
        if values is None or len(values) != len(rows) * width:
            number = next(number for number, line in rows if not _is_row(line, width))
            raise DataError(
                f"{path} has a pixel that is no number in line {number}; correct or remove that line."
            )
        labels.extend(label.decode(errors="replace").strip(" \t\"'") for label, *_ in divided)
        pixels.append(values.reshape(-1, width))
        if len(labels) > MAX_ITEMS:
            raise DataError(f"{path} has more than {MAX_ITEMS:,} rows, which is the most that are read.")
    if not labels:
        raise DataError(f"{path} has no rows; put images there, a row each.")
    if "" in labels:
        raise DataError(f"{path} has no label in row {labels.index('') + 1}; give it one.")
    return np.array(labels), np.concatenate(pixels)


def _lines(path: Path) -> Iterator[tuple[int, list[bytes]]]:
    """Yields lines, many at a time, with the number of the first."""
    number, rest = 1, b""
    with open_file(path) as stream:
        while piece := stream.read(_PIECE):
            *lines, rest = (rest + piece).split(b"\n")
            if len(rest) > _PIECE:
                raise DataError(f"{path} has a line of more than {_PIECE:,} bytes; save it as CSV.")
            if lines:
                yield number, lines
            number += len(lines)
    if rest:
        yield number, [rest]


def _width(path: Path, line: bytes) -> int:
    """Number of pixels in a row."""
    width = line.count(b",")
    if math.isqrt(width) ** 2 == width and width:
        return width
    if _is_unlabelled(line):
        raise DataError(
            f"{path} has {width + 1} columns, pixels without labels like Kaggle's own test.csv; name a file whose rows "
            "begin with the label."
        )
    raise DataError(
        f"{path} has {width + 1} columns where a label and 784 pixels, or those of another square, were expected; save "
        "it so, with commas."
    )


def _numbers(text: bytes) -> np.ndarray | None:
    """Reads numbers between commas, as bytes where they are; None if something else is there."""
    for dtype in (np.int64, np.float64):  # floats take ten times as long
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what is an error since NumPy 2.3 was a warning before
            try:
                values = np.fromstring(text, dtype, sep=",")
            except (ValueError, DeprecationWarning):
                continue
        fits = dtype is np.int64 and len(values) and values.min() >= 0 and values.max() <= 255
        return values.astype(np.uint8 if fits else np.float32)
    return None


def _is_row(line: bytes, width: int) -> bool:
    values = _numbers(line.partition(b",")[2])
    return values is not None and len(values) == width


def _is_header(line: bytes) -> bool:
    """True if the first pixel is a word, or the pixels count up as the names of columns do."""
    pixels = line.strip().partition(b",")[2]
    if _numbers(pixels.partition(b",")[0]) is None:
        return True
    values = _numbers(pixels)
    return values is not None and bool(np.all(np.diff(values.astype(np.int64)) == 1))
