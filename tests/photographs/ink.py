"""Digits as ink, and the pens that draw it. Values are from 0 to 1."""

from typing import NamedTuple

import numpy as np
from PIL import Image

from tests.photographs.surfaces import Random, smooth_noise


class Pen(NamedTuple):
    """Ink of a pen, pencil, marker or piece of chalk."""

    colour: tuple[float, float, float]
    opacity: float = 1.0
    grain: float = 0.0
    """Share of the ink that the roughness of the surface takes away here and there."""


BLACK = Pen((0.12, 0.12, 0.13))


def enlarged(digit: np.ndarray, side: float, random: Random) -> np.ndarray:
    """Returns the ink of a 28x28 digit, without its margins, the longer side `side` pixels long."""
    rows, columns = (np.flatnonzero(digit.max(axis)) for axis in (1, 0))
    box = np.pad(digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 1)
    scale = side / (max(box.shape) - 2)
    height, width = (max(2, round(length * scale)) for length in box.shape)
    ink = np.asarray(Image.fromarray(box).resize((width, height), Image.Resampling.BICUBIC), np.float32) / 255
    # The edges of a pen's strokes are sharper than those of 28x28 pixels.
    sharpness = random.uniform(1, 3)
    return np.clip((ink - 0.45) * sharpness + 0.45, 0, 1)


def placed(ink: np.ndarray, shape: tuple[int, int], top: int, left: int) -> np.ndarray:
    """Returns a page of ink; what reaches beyond the page is cut off."""
    page = np.zeros(shape, np.float32)
    target = page[max(0, top) : top + ink.shape[0], max(0, left) : left + ink.shape[1]]
    target += ink[max(0, -top) :, max(0, -left) :][: target.shape[0], : target.shape[1]]
    return page


def drawn(surface: np.ndarray, ink: np.ndarray, pen: Pen, random: Random) -> np.ndarray:
    """Returns a surface with ink on it."""
    share = pen.opacity * ink
    if pen.grain:
        roughness = 0.5 + 0.5 * np.clip(smooth_noise(ink.shape, random, 1.7), -1, 1)
        share = share * (1 - pen.grain * roughness)
    return surface * (1 - share[..., None]) + np.array(pen.colour, np.float32) * share[..., None]
