"""Digits of MNIST laid out otherwise in 28x28 pixels, as other programs lay them out."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

Random = np.random.Generator


def _box(digit: np.ndarray) -> np.ndarray:
    rows, columns = (np.flatnonzero(digit.max(axis)) for axis in (1, 0))
    return digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _scaled(digit: np.ndarray, side: int) -> np.ndarray:
    box = _box(digit)
    height, width = (max(1, round(length * side / max(box.shape))) for length in box.shape)
    return np.asarray(Image.fromarray(box).resize((width, height), Image.Resampling.BICUBIC))


def _at(box: np.ndarray, size: int, top: int, left: int) -> np.ndarray:
    image = np.zeros((size, size), np.uint8)
    image[top : top + box.shape[0], left : left + box.shape[1]] = box
    return image


def _centred(digit: np.ndarray, side: int, size: int) -> np.ndarray:
    box = _scaled(digit, side)
    return _at(box, size, (size - box.shape[0]) // 2, (size - box.shape[1]) // 2)


def _moved(digit: np.ndarray, random: Random, size: int) -> np.ndarray:
    """The digit as it is, 4 pixels of 28 away from its place, as far as there is room."""
    unit = size // 28
    image = (
        np.asarray(Image.fromarray(digit).resize((size, size), Image.Resampling.BICUBIC))
        if unit > 1
        else digit
    )
    offset = [
        unit * step for step in ((4, 0), (-4, 0), (0, 4), (0, -4), (4, 4), (-4, -4))[random.integers(6)]
    ]
    padded = np.pad(image, 4 * unit)
    top, left = (4 * unit - step for step in offset)
    return np.ascontiguousarray(padded[top : top + size, left : left + size])


def _cornered(digit: np.ndarray, random: Random, size: int) -> np.ndarray:
    box = _scaled(digit, 20 * size // 28)
    free = [(size - length - 1) for length in box.shape]
    top, left = (1 if random.integers(2) else room for room in free)
    return _at(box, size, top, left)


def _small(digit: np.ndarray, random: Random, size: int) -> np.ndarray:
    box = _scaled(digit, 12 * size // 28)
    top, left = (int(random.integers(0, size - length + 1)) for length in box.shape)
    return _at(box, size, top, left)


Layout = Callable[[np.ndarray, Random, int], np.ndarray]
"""Function from a 28x28 digit and a side to a square picture of that side."""

LAYOUTS: dict[str, Layout] = {
    "as MNIST has it": lambda digit, _, size: (
        digit
        if size == 28
        else np.asarray(Image.fromarray(digit).resize((size, size), Image.Resampling.BICUBIC))
    ),
    "24 px, centred": lambda digit, _, size: _centred(digit, 24 * size // 28, size),
    "26 px, centred": lambda digit, _, size: _centred(digit, 26 * size // 28, size),
    "filling the frame": lambda digit, _, size: _centred(digit, size, size),
    "20 px, moved by 4": _moved,
    "20 px, in a corner": _cornered,
    "12 px, centred": lambda digit, _, size: _centred(digit, 12 * size // 28, size),
    "12 px, off centre": _small,
}
"""Layouts by their names in the table."""


def png(image: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(image).save(content, "PNG")
    return content.getvalue()
