"""Several digits in one picture: found, put in reading order, split where they touch, and classified.

Pieces of ink become digits: frames of forms and specks are dropped, broken strokes are joined. A wide piece is cut
along paths of little ink, where the network is surer of the parts than of the whole.
"""

import itertools
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from jaxmnist.data.mnist_style import Ink, has_dark_ink, scaled
from jaxmnist.data.strokes import find_strokes
from jaxmnist.errors import UsageError
from jaxmnist.inference.digit_parts import digit_parts, image_of, in_lines
from jaxmnist.inference.out_of_distribution import find_doubt
from jaxmnist.inference.touching import split_touching
from jaxmnist.train.network import Network

_SIDE = 640
"""Longer side at which a picture of several digits is searched: twenty digits in a line have 30 pixels each."""

_SPACE = 0.9
"""Gap that is a space, as a share of the typical height."""

_TOUCHES = "it touches another digit, and may be cut off in the wrong place"


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
    masks = [] if found is None else digit_parts(found)
    if found is None or not masks:
        return Reading([], about.classes)
    height = float(np.median([mask.height for mask in masks]))
    parts = split_touching(network, found, masks, height, touching)
    lines = in_lines(parts)
    ordered = [part for line in lines for part in line]
    images = np.stack([image_of(found, part, about.ink_side) for part in ordered])
    predictions, probabilities = network.probabilities(images)
    scale = max(grey.shape) / max(found.ink.shape)
    digits, outcome = [], iter(zip(images, predictions, probabilities, strict=True))
    for number, line in enumerate(lines):
        for before, part in zip([None, *line], line, strict=False):
            image, prediction, shares = next(outcome)
            spaced = before is not None and part.left - before.right > _SPACE * height
            box = tuple(round(side * scale) for side in (part.left, part.top, part.right, part.bottom))
            doubt = find_doubt(image, shares) or (_TOUCHES if part.is_doubtful else None)
            digits.append(Digit(box, int(prediction), shares.tolist(), doubt, number, spaced))
    return Reading(digits, about.classes)
