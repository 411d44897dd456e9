"""Pictures of one handwritten digit in the form of MNIST: found, cut out, scaled and centred."""

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from jaxmnist.data.mnist_style import Ink, boxed, has_dark_ink, scaled
from jaxmnist.data.strokes import SIDE, Pieces, Strokes, find_strokes

_DRAWING = 64
"""Longer side up to which a picture is a drawing on an even ground, whose border tells its ink."""

_LAYOUTS = {20: (18, 20), 26: (22, 28)}
"""Longer side of the ink of training images, by the dataset's `ink_side`. Counted above a tenth of the full ink, it is
18 to 20 in all 70,000 images of MNIST."""

_MOST_OFF = 1.25
"""Most pixels from the middle to the centre of mass; in MNIST below 1 on either axis."""

_NEAR = 0.2
"""Pieces no farther from the main one belong to its digit, as a share of its longer side: broken strokes."""


def to_digit(
    grey: UInt8[np.ndarray, "height width"], ink: Ink = "auto", side: int = 20
) -> UInt8[np.ndarray, "28 28"]:
    """Converts a picture or photograph of a digit to light ink on black, laid out as training images are.

    An image of 28x28 that is laid out so already comes back as it is, apart from the ink's brightness.

    Args:
        grey: 0 black, 255 white.
        ink: ink of the picture; "auto" finds out.
        side: longer side of the box around the ink of the training images.
    """
    is_dark = None if ink == "auto" else ink == "dark"
    if is_dark is None and max(grey.shape) <= _DRAWING:
        is_dark = has_dark_ink(grey)
    if grey.shape == (28, 28):
        light = 255 - grey if is_dark else grey
        if is_laid_out(light, side):
            return light
    found = find_strokes(scaled(grey, SIDE), is_dark)
    if found is None:
        return np.zeros((28, 28), np.uint8)
    digit = only_digit(found)
    if (part := _closer(grey, digit)) is not None:
        nearer = find_strokes(scaled(part, SIDE), found.is_dark)
        digit = digit if nearer is None else only_digit(nearer)
    return boxed(np.round(255 * digit).astype(np.uint8), side)


def is_laid_out(image: UInt8[np.ndarray, "28 28"], side: int = 20) -> bool:
    """True for light ink of the size and at the place of training images, and for an image without ink."""
    ink = image * (image > image.max() / 10)
    rows, columns = (np.flatnonzero(ink.any(axis)) for axis in (1, 0))
    if not len(rows):
        return True
    longest = max(np.ptp(rows), np.ptp(columns)) + 1
    low, high = _LAYOUTS.get(side, (side - 2, side))
    middles = [(ink.sum(axis) @ (np.arange(28) + 0.5)) / ink.sum() for axis in (1, 0)]
    # EMNIST centres the box instead of the mass.
    boxes = [(found[0] + found[-1] + 1) / 2 for found in (rows, columns)]
    centres = middles if side == 20 else boxes
    return bool(low <= longest <= high and max(abs(centre - 14) for centre in centres) <= _MOST_OFF)


def only_digit(found: Strokes) -> Float32[np.ndarray, "height width"]:
    """Returns the ink of the main piece, of broken strokes near it, and of pieces that may be digits beside it."""
    kept = digit_pieces(found.pieces, found.pieces.main)
    labels = found.pieces.labels
    spread = np.concatenate([[False], kept])[labels]
    # Soft edges lie around the pieces.
    reach = np.pad(spread, 2)
    near = np.zeros_like(spread)
    for down in range(5):
        for right in range(5):
            near |= reach[down : down + near.shape[0], right : right + near.shape[1]]
    return found.ink * near


def digit_pieces(pieces: Pieces, main: int) -> Bool[np.ndarray, " pieces"]:
    """Selects the main piece, pieces near it, and pieces with a fifth of its ink wherever they are."""
    top, bottom, left, right = pieces.boxes[main]
    length = max(bottom - top, right - left)
    tops, bottoms, lefts, rights = pieces.boxes.T
    gaps = np.max([tops - bottom, top - bottoms, lefts - right, left - rights], axis=0)
    return (gaps < _NEAR * length) | (pieces.mass >= 0.2 * pieces.mass[main])


def _closer(grey: np.ndarray, digit: np.ndarray) -> np.ndarray | None:
    """Cuts a small digit out with a margin; None if it is large already, or the picture has no more pixels of it."""
    rows, columns = (np.flatnonzero(digit.max(axis) > 0.2) for axis in (1, 0))
    if not len(rows):
        return None
    longest = max(np.ptp(rows), np.ptp(columns)) + 1
    scale = max(grey.shape) / max(digit.shape)
    if longest > 0.35 * SIDE or scale < 1.5:
        return None
    margin = round(0.5 * longest * scale)
    slices = [
        slice(max(0, round(found[0] * scale) - margin), round((found[-1] + 1) * scale) + margin)
        for found in (rows, columns)
    ]
    return grey[tuple(slices)]
