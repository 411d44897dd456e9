"""Several digits in one picture: found, put in reading order, split where they touch, and classified.

Pieces of ink become digits: frames of forms and specks are dropped, broken strokes are joined. A wide piece is cut
along paths of little ink, where the network is surer of the parts than of the whole.
"""

import itertools
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from jaxmnist.data.mnist_style import Ink, boxed, has_dark_ink, scaled
from jaxmnist.data.strokes import Strokes, find_strokes
from jaxmnist.errors import UsageError
from jaxmnist.inference.out_of_distribution import find_doubt
from jaxmnist.train.network import Network

_SIDE = 640
"""Longer side at which a picture of several digits is searched: twenty digits in a line have 30 pixels each."""

_LEAST_HEIGHT = 0.45
"""Height of the lowest digit, as a share of the typical one; points and dashes are lower."""

_WIDE = 1.15
"""Width from which a piece may be two digits, as a share of the typical height."""

_NARROW = 0.7
"""The same for digits that are said to touch."""

_SPACE = 0.9
"""Gap that is a space, as a share of the typical height."""

_MOST_PARTS = 6
"""Most digits that one piece is split into."""

_CUT_COST = 0.3
"""Cost of each cut, in natural logarithms of probability: a whole is as good as slightly likelier parts."""


class Digit(NamedTuple):
    """A digit in a picture."""

    box: tuple[int, int, int, int]
    """Left, top, right, bottom in pixels of the picture; right and bottom are the first ones beyond."""
    prediction: int
    """The likeliest class."""
    probabilities: list[float]
    """Probability of each class, in [0, 1]."""
    warning: str | None
    """Reason to doubt the prediction."""
    line: int
    """Number of its line, from 0."""
    spaced: bool
    """True if there is a space before it."""


class Reading(NamedTuple):
    """The digits of a picture, in reading order."""

    digits: list[Digit]
    """Line by line from the top, each from the left."""
    classes: tuple[str, ...]
    """Names of all classes."""

    @property
    def lines(self) -> list[str]:
        """The text, line by line."""
        lines = itertools.groupby(self.digits, key=lambda digit: digit.line)
        return [
            "".join(" " * digit.spaced + self.classes[digit.prediction] for digit in line)
            for _, line in lines
        ]

    @property
    def warnings(self) -> list[str]:
        """Reasons to doubt digits, each with the digit's place in the text."""
        return [
            f"digit {number}: {digit.warning}" for number, digit in enumerate(self.digits, 1) if digit.warning
        ]

    def as_json(self) -> dict[str, Any]:
        """Returns the reading as plain JSON values."""
        digits = [
            digit._asdict() | {"name": self.classes[digit.prediction], "confidence": max(digit.probabilities)}
            for digit in self.digits
        ]
        return {"lines": self.lines, "digits": digits}


def read_digits(
    network: Network, grey: UInt8[np.ndarray, "height width"], ink: Ink = "auto", touching: bool = False
) -> Reading:
    """Reads all digits in a picture.

    Args:
        network: a network trained on digits.
        grey: the picture, 0 black, 255 white.
        ink: ink of the picture; "auto" finds out.
        touching: True if digits touch, so that narrow pieces are split as well.

    Raises:
        UsageError: the network was not trained on digits.
    """
    about = network.data_info
    if not about.is_digits:
        raise UsageError(
            f"the network was trained on {about.dataset}, not on digits; read its images one by one."
        )
    is_dark = None if ink == "auto" else ink == "dark"
    if is_dark is None and max(grey.shape) <= 64:
        is_dark = has_dark_ink(grey)
    found = find_strokes(scaled(grey, _SIDE), is_dark, several=True)
    masks = [] if found is None else _digit_masks(found)
    if found is None or not masks:
        return Reading([], about.classes)
    height = float(np.median([mask.height for mask in masks]))
    parts = _split(network, found, masks, height, _NARROW if touching else _WIDE)
    lines = _lines(parts)
    ordered = [part for line in lines for part in line]
    images = np.stack([_image(found, part, about.ink_side) for part in ordered])
    predictions, probabilities = network.probabilities(images)
    scale = max(grey.shape) / max(found.ink.shape)
    digits, outcome = [], iter(zip(images, predictions, probabilities, strict=True))
    for number, line in enumerate(lines):
        for before, part in zip([None, *line], line, strict=False):
            image, prediction, shares = next(outcome)
            spaced = before is not None and part.left - before.right > _SPACE * height
            box = tuple(round(side * scale) for side in (part.left, part.top, part.right, part.bottom))
            digits.append(
                Digit(box, int(prediction), shares.tolist(), find_doubt(image, shares), number, spaced)
            )
    return Reading(digits, about.classes)


class _Part(NamedTuple):
    """Ink of a digit: a mask, and its box in the picture."""

    top: int
    left: int
    mask: Bool[np.ndarray, "rows columns"]

    @property
    def bottom(self) -> int:
        return self.top + self.mask.shape[0]

    @property
    def right(self) -> int:
        return self.left + self.mask.shape[1]

    @property
    def height(self) -> int:
        return self.mask.shape[0]

    @property
    def width(self) -> int:
        return self.mask.shape[1]


def _part(mask: np.ndarray, top: int = 0, left: int = 0) -> _Part:
    """Returns a part without empty rows and columns."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    cropped = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return _Part(top + int(rows[0]), left + int(columns[0]), cropped)


def _digit_masks(found: Strokes) -> list[_Part]:
    """Returns the pieces of digits: without frames and specks, broken strokes joined."""
    boxes, mass = found.pieces.boxes, found.pieces.mass
    chosen = [number for number in range(len(boxes)) if not _is_frame(boxes, number)]
    if not chosen:
        return []
    heights = np.array([boxes[number][1] - boxes[number][0] for number in chosen])
    # The median over the ink: specks have little.
    order = np.argsort(heights)
    share = np.cumsum(mass[chosen][order])
    typical = float(heights[order][np.searchsorted(share, share[-1] / 2)])
    groups = [[number] for number in chosen]
    while (pair := _broken(groups, boxes, typical)) is not None:
        one, other = pair
        groups[one] += groups.pop(other)
    parts = []
    for group in groups:
        top, left = boxes[group][:, [0, 2]].min(0)
        bottom, right = boxes[group][:, [1, 3]].max(0)
        if bottom - top < _LEAST_HEIGHT * typical or max(mass[group]) < 0.03 * mass[chosen].max():
            continue
        within = found.pieces.labels[top:bottom, left:right]
        parts.append(_part(np.isin(within, np.array(group) + 1), int(top), int(left)))
    return parts


def _is_frame(boxes: np.ndarray, number: int) -> bool:
    """True for a piece with another one of at least a third of its height inside: a box of a form."""
    top, bottom, left, right = boxes[number]
    inside = (boxes[:, 0] > top) & (boxes[:, 1] < bottom) & (boxes[:, 2] > left) & (boxes[:, 3] < right)
    return bool((inside & (boxes[:, 1] - boxes[:, 0] > 0.35 * (bottom - top))).any())


def _broken(groups: list[list[int]], boxes: np.ndarray, typical: float) -> tuple[int, int] | None:
    """Returns two groups of pieces that are parts of one digit: near, one above the other, no higher than a digit."""
    for one, other in itertools.combinations(range(len(groups)), 2):
        top, bottom, left, right = _box(boxes[groups[one]])
        top2, bottom2, left2, right2 = _box(boxes[groups[other]])
        common = min(right, right2) - max(left, left2)
        narrower = min(right - left, right2 - left2)
        gap = max(top, top2) - min(bottom, bottom2)
        height = max(bottom, bottom2) - min(top, top2)
        lowest = min(bottom - top, bottom2 - top2)
        if lowest > 0.75 * typical or height > 1.3 * typical or gap > 0.25 * typical:
            continue
        if common > 0.4 * narrower or (lowest < _LEAST_HEIGHT * typical and common > 0):
            return one, other
    return None


def _box(boxes: np.ndarray) -> tuple[int, int, int, int]:
    """Returns top, bottom, left and right of the box around several."""
    return int(boxes[:, 0].min()), int(boxes[:, 1].max()), int(boxes[:, 2].min()), int(boxes[:, 3].max())


def _lines(parts: list[_Part]) -> list[list[_Part]]:
    """Puts digits into lines: each follows the one to its left that it overlaps most in height."""
    lines: list[list[_Part]] = []
    for part in sorted(parts, key=lambda part: part.left + part.right):
        shares = [
            (min(part.bottom, line[-1].bottom) - max(part.top, line[-1].top))
            / min(part.height, line[-1].height)
            for line in lines
        ]
        if shares and max(shares) > 0.4:
            lines[int(np.argmax(shares))].append(part)
        else:
            lines.append([part])
    return sorted(lines, key=lambda line: np.mean([part.top + part.bottom for part in line]))


def _image(found: Strokes, part: _Part, side: int) -> UInt8[np.ndarray, "28 28"]:
    """Returns a digit in the form of MNIST, with the soft edges around its mask."""
    top, left, bottom, right = max(0, part.top - 2), max(0, part.left - 2), part.bottom + 2, part.right + 2
    ink = found.ink[top:bottom, left:right]
    near = np.zeros(ink.shape, bool)
    rows, columns = part.top - top, part.left - left
    for down, across in itertools.product(range(-2, 3), repeat=2):
        first, second = rows + down, columns + across
        target = near[max(0, first) : first + part.height, max(0, second) : second + part.width]
        target |= part.mask[max(0, -first) :, max(0, -second) :][: target.shape[0], : target.shape[1]]
    # Edges of a neighbour that touches belong to the neighbour.
    labels = found.pieces.labels[top:bottom, left:right] > 0
    own = np.zeros(ink.shape, bool)
    own[rows : rows + part.height, columns : columns + part.width] = part.mask
    return boxed(np.round(255 * ink * (near & (own | ~labels))).astype(np.uint8), side)


def _split(network: Network, found: Strokes, parts: list[_Part], height: float, wide: float) -> list[_Part]:
    """Cuts wide parts where the network is surer of what comes out."""
    result = []
    for part in parts:
        result += (
            [part]
            if part.width < wide * min(height, part.height)
            else _best_cut(network, found, part, height)
        )
    return result


def _best_cut(network: Network, found: Strokes, part: _Part, height: float) -> list[_Part]:
    """Returns the sequence of parts with the highest mean logarithm of probability."""
    ink = found.ink[part.top : part.bottom, part.left : part.right] * part.mask
    paths = _paths(ink, height)
    walls = [np.zeros(part.height, int), *paths, np.full(part.height, part.width)]
    columns = np.arange(part.width)
    pieces: dict[tuple[int, int], _Part] = {}
    for first, last in itertools.combinations(range(len(walls)), 2):
        between = (columns >= walls[first][:, None]) & (columns < walls[last][:, None]) & part.mask
        width = (walls[last] - walls[first]).mean()
        is_whole = (first, last) == (0, len(walls) - 1)
        if is_whole or (between.any() and 0.12 * height < width < 1.4 * height):
            piece = _part(between, part.top, part.left)
            if is_whole or piece.height > _LEAST_HEIGHT * height:
                pieces[first, last] = piece
    images = np.stack([_image(found, piece, network.data_info.ink_side) for piece in pieces.values()])
    likelihood = np.log(network.probabilities(images)[1].max(1))
    best: dict[int, tuple[float, list[_Part]]] = {0: (0.0, [])}
    for end in range(1, len(walls)):
        options = [
            (best[first][0] + score - _CUT_COST, [*best[first][1], piece])
            for ((first, last), piece), score in zip(pieces.items(), likelihood, strict=True)
            if last == end and first in best and len(best[first][1]) < _MOST_PARTS
        ]
        if options:
            best[end] = max(options, key=lambda option: option[0])
    return best[len(walls) - 1][1]


def _paths(ink: Float32[np.ndarray, "height width"], height: float) -> list[np.ndarray]:
    """Returns paths from top to bottom through little ink, one near each of several columns."""
    rows, width = ink.shape
    step = max(2, round(0.12 * height))
    paths = []
    for middle in range(step, width - step + 1, step):
        low, high = max(1, middle - step), min(width, middle + step)
        cost = ink[:, low:high] + 1e-3
        total = cost.copy()
        for row in range(1, rows):
            before = np.pad(total[row - 1], 1, constant_values=np.inf)
            total[row] += np.minimum(np.minimum(before[:-2] + 0.01, before[1:-1]), before[2:] + 0.01)
        path = np.empty(rows, int)
        path[-1] = int(np.argmin(total[-1]))
        for row in range(rows - 2, -1, -1):
            first = max(0, path[row + 1] - 1)
            path[row] = first + int(np.argmin(total[row, first : path[row + 1] + 2]))
        paths.append(path + low)
    unique = {path.tobytes(): path for path in paths}
    return sorted(unique.values(), key=lambda path: path.mean())
