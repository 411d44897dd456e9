"""Pictures of several digits: lines, house numbers, columns, rows of a form; clean, and as photographs."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from tests.photographs import ink as pens
from tests.photographs import optics, surfaces
from tests.photographs.surfaces import Random

Draw = Callable[[np.ndarray, Random], bytes]
"""Function from digits `[n, 28, 28]` to the bytes of a picture with them in a line."""


def line(
    digits: np.ndarray, random: Random, side: float, gap: tuple[float, float] = (0.15, 0.5)
) -> np.ndarray:
    """Returns the ink of digits side by side: sizes, heights and gaps vary; gaps are shares of the side."""
    parts = [pens.enlarged(digit, side * random.uniform(0.85, 1.1), random) for digit in digits]
    gaps = [round(side * random.uniform(*gap)) for _ in parts]
    width = sum(part.shape[1] for part in parts) + sum(gaps[:-1])
    ink, left = np.zeros((round(1.5 * side), width), np.float32), 0
    for part, space in zip(parts, gaps, strict=True):
        top = round((ink.shape[0] - part.shape[0]) / 2 + side * random.uniform(-0.08, 0.08))
        ink = np.maximum(ink, pens.placed(part, ink.shape, max(0, top), left))
        left += part.shape[1] + space
    return ink


def page(ink: np.ndarray, random: Random, margin: float = 0.25) -> np.ndarray:
    """Returns a page with that ink and margins, as shares of the ink's height."""
    around = [round(ink.shape[0] * random.uniform(margin, 3 * margin)) for _ in range(4)]
    return np.pad(ink, (around[:2], around[2:]))


def _clean(digits: np.ndarray, random: Random) -> bytes:
    ink = page(line(digits, random, random.uniform(30, 80)), random)
    grey = 255 * ink if random.integers(2) else 245 - 225 * ink
    content = io.BytesIO()
    Image.fromarray(np.round(grey).astype(np.uint8)).save(content, "PNG")
    return content.getvalue()


def _photographed(digits: np.ndarray, random: Random) -> bytes:
    ink = page(line(digits, random, random.uniform(50, 90)), random, 0.5)
    surface = surfaces.paper(ink.shape, random)
    if random.integers(2):
        surface = surfaces.lined(surface, random, bool(random.integers(2)), random.uniform(25, 60))
    pen = [pens.BLACK, pens.Pen((0.1, 0.15, 0.5)), pens.Pen((0.35, 0.35, 0.36), 0.9, 0.3)][random.integers(3)]
    scene = pens.drawn(surface, ink, pen, random)
    light = [optics.vignette, optics.shadow, optics.slanting][random.integers(3)](ink.shape, random)
    scene = optics.blurred(optics.tilted(scene * light[..., None], random, 6), random.uniform(0, 1.2))
    return optics.developed(scene, random, 0.015, int(random.integers(30, 90)))


def _touching(digits: np.ndarray, random: Random) -> bytes:
    """The margins around the ink are about a twentieth of the side, so most neighbours touch or overlap."""
    ink = page(line(digits, random, random.uniform(40, 80), (-0.16, -0.06)), random)
    content = io.BytesIO()
    Image.fromarray(np.round(245 - 225 * ink).astype(np.uint8)).save(content, "PNG")
    return content.getvalue()


TOUCHING = "touching, with --touching"
SEQUENCES: dict[str, Draw] = {"clean": _clean, "photographed": _photographed, TOUCHING: _touching}
"""Pictures of several digits, by their names in the table."""
