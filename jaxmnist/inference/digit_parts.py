"""Pieces of ink that are digits: chosen among all pieces of a picture, and brought into the form of MNIST."""

import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8

from jaxmnist.data.mnist_style import boxed
from jaxmnist.data.strokes import Strokes

LEAST_HEIGHT = 0.45
"""Height of the lowest digit, as a share of the typical one; points and dashes are lower."""


class Part(NamedTuple):
    """Ink of a digit: a mask, and its box in the picture."""

    top: int
    left: int
    mask: Bool[np.ndarray, "rows columns"]
    is_doubtful: bool = False
    """True if it was part of a wide piece that may as well be other digits."""

    @property
    def bottom(self) -> int:
        """First row below."""
        return self.top + self.mask.shape[0]

    @property
    def right(self) -> int:
        """First column beyond."""
        return self.left + self.mask.shape[1]

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self.mask.shape[0]

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.mask.shape[1]


def part_of(mask: np.ndarray, top: int = 0, left: int = 0) -> Part:
    """Returns a part without empty rows and columns."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    cropped = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Part(top + int(rows[0]), left + int(columns[0]), cropped)


def digit_parts(found: Strokes) -> list[Part]:
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
        if bottom - top < LEAST_HEIGHT * typical or max(mass[group]) < 0.03 * mass[chosen].max():
            continue
        within = found.pieces.labels[top:bottom, left:right]
        parts.append(part_of(np.isin(within, np.array(group) + 1), int(top), int(left)))
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
        if common > 0.4 * narrower or (lowest < LEAST_HEIGHT * typical and common > 0):
            return one, other
    return None


def _box(boxes: np.ndarray) -> tuple[int, int, int, int]:
    """Returns top, bottom, left and right of the box around several."""
    return int(boxes[:, 0].min()), int(boxes[:, 1].max()), int(boxes[:, 2].min()), int(boxes[:, 3].max())


def in_lines(parts: list[Part]) -> list[list[Part]]:
    """Puts digits into lines: each follows the one to its left that it overlaps most in height."""
    lines: list[list[Part]] = []
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


def image_of(found: Strokes, part: Part, side: int) -> UInt8[np.ndarray, "28 28"]:
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
