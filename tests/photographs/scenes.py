"""Scenes: the photographs of one digit.

Every random choice is drawn from the generator that is passed in.
"""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from tests.photographs.ink import BLACK, Pen, drawn, enlarged, placed
from tests.photographs.optics import blurred, developed, highlight, shadow, slanting, tilted, vignette
from tests.photographs.surfaces import Random, board, lined, on_desk, paper, smooth_noise

HEIGHT, WIDTH = 440, 340
"""Pixels of a photograph of one digit."""

Photograph = Callable[[np.ndarray, Random], bytes]
"""Function from a 28x28 digit to the bytes of a photograph of it."""


def somewhere(digit: np.ndarray, random: Random, low: float = 0.3, high: float = 0.7) -> np.ndarray:
    """Returns a page with the digit anywhere, its side that share of the page's width."""
    ink = enlarged(digit, random.uniform(low, high) * WIDTH, random)
    room = np.array([HEIGHT, WIDTH]) - ink.shape
    top, left = (round(random.uniform(0.08, 0.92) * side) for side in room)
    return placed(ink, (HEIGHT, WIDTH), top, left)


def _page(digit: np.ndarray, random: Random, pen: Pen = BLACK) -> np.ndarray:
    return drawn(paper((HEIGHT, WIDTH), random), somewhere(digit, random), pen, random)


def _lit(scene: np.ndarray, light: np.ndarray) -> np.ndarray:
    return scene * light[..., None]


def _on_lines(digit: np.ndarray, random: Random, squared: bool) -> bytes:
    surface = lined(paper((HEIGHT, WIDTH), random), random, squared, random.uniform(18, 60))
    scene = drawn(surface, somewhere(digit, random), _dark_pen(random), random)
    return developed(_lit(scene, slanting((HEIGHT, WIDTH), random)), random)


def _dark_pen(random: Random) -> Pen:
    return [BLACK, Pen((0.1, 0.15, 0.5)), Pen((0.2, 0.2, 0.25))][random.integers(3)]


def _pencil(random: Random) -> Pen:
    shade = random.uniform(0.3, 0.5)
    return Pen((shade, shade, shade), opacity=random.uniform(0.6, 0.95), grain=random.uniform(0.2, 0.6))


def _on_whiteboard(digit: np.ndarray, random: Random) -> bytes:
    colour = [(0.1, 0.1, 0.12), (0.1, 0.2, 0.65), (0.75, 0.12, 0.12), (0.05, 0.45, 0.2)][random.integers(4)]
    surface = np.full((HEIGHT, WIDTH, 3), random.uniform(0.75, 0.9), np.float32)
    surface = surface - 0.015 * np.clip(smooth_noise((HEIGHT, WIDTH), random, 30), 0, None)[..., None]
    scene = drawn(surface, somewhere(digit, random), Pen(colour, random.uniform(0.7, 1)), random)
    scene = _lit(scene, slanting((HEIGHT, WIDTH), random)) + highlight((HEIGHT, WIDTH), random)[..., None]
    return developed(scene, random)


def _in_chalk(digit: np.ndarray, random: Random) -> bytes:
    chalk = Pen((0.85, 0.85, 0.8), random.uniform(0.6, 0.95), grain=random.uniform(0.2, 0.6))
    scene = drawn(board((HEIGHT, WIDTH), random), somewhere(digit, random), chalk, random)
    return developed(_lit(scene, slanting((HEIGHT, WIDTH), random)), random)


def _in_colour(digit: np.ndarray, random: Random) -> bytes:
    colours = [(0.8, 0.1, 0.15), (0.05, 0.5, 0.2), (0.9, 0.45, 0.05), (0.5, 0.15, 0.6), (0.1, 0.6, 0.8)]
    return developed(_page(digit, random, Pen(colours[random.integers(len(colours))], 0.9)), random)


def _with_biro(digit: np.ndarray, random: Random) -> bytes:
    ink = ndimage.grey_erosion(somewhere(digit, random, 0.4), footprint=np.ones((3, 3)))
    pen = Pen((0.12, 0.18, 0.55), random.uniform(0.7, 0.95), grain=0.2)
    return developed(drawn(paper((HEIGHT, WIDTH), random), ink, pen, random), random)


def _desk(digit: np.ndarray, random: Random) -> bytes:
    ink = enlarged(digit, random.uniform(0.25, 0.55) * WIDTH, random)
    room = np.array([HEIGHT, WIDTH]) - ink.shape
    top, left = (round(random.uniform(0.35, 0.65) * side) for side in room)
    page = drawn(
        paper((HEIGHT, WIDTH), random), placed(ink, (HEIGHT, WIDTH), top, left), _dark_pen(random), random
    )
    scene = on_desk(page, random, int(random.integers(1, 5)))
    return developed(_lit(scene, slanting((HEIGHT, WIDTH), random, 0.8)), random)


def _at_border(digit: np.ndarray, random: Random) -> bytes:
    """The ink touches one border or, in a corner, two."""
    ink = enlarged(digit, random.uniform(0.4, 0.8) * WIDTH, random)
    room = np.array([HEIGHT, WIDTH]) - ink.shape
    edge = round(0.05 * max(ink.shape) / 2)  # the soft margin of `enlarged`
    place = [round(random.uniform(0.1, 0.9) * side) for side in room]
    for axis in random.choice(2, random.integers(1, 3), replace=False):
        place[axis] = -edge if random.integers(2) else room[axis] + edge
    page = placed(ink, (HEIGHT, WIDTH), *place)
    return developed(drawn(paper((HEIGHT, WIDTH), random), page, BLACK, random), random)


def _faint(digit: np.ndarray, random: Random) -> bytes:
    return developed(_page(digit, random, Pen((0.3, 0.3, 0.32), random.uniform(0.12, 0.3))), random, 0.008)


def _tilted_page(digit: np.ndarray, random: Random) -> bytes:
    ink = enlarged(digit, random.uniform(0.3, 0.6) * WIDTH, random)
    room = np.array([HEIGHT, WIDTH]) - ink.shape
    top, left = (round(random.uniform(0.35, 0.65) * side) for side in room)
    page = placed(ink, (HEIGHT, WIDTH), top, left)
    scene = drawn(paper((HEIGHT, WIDTH), random), page, BLACK, random)
    return developed(tilted(scene, random, 15), random)


def _everything(digit: np.ndarray, random: Random) -> bytes:
    ink = enlarged(digit, random.uniform(0.25, 0.5) * WIDTH, random)
    room = np.array([HEIGHT, WIDTH]) - ink.shape
    surface = paper((HEIGHT, WIDTH), random)
    if random.integers(2):
        surface = lined(surface, random, bool(random.integers(2)), random.uniform(25, 60))
    top, left = (round(random.uniform(0.38, 0.62) * side) for side in room)
    page = drawn(surface, placed(ink, (HEIGHT, WIDTH), top, left), _dark_pen(random), random)
    scene = _lit(on_desk(page, random, int(random.integers(0, 5))), vignette((HEIGHT, WIDTH), random))
    scene = blurred(tilted(scene, random, 10), random.uniform(0.5, 1.5))
    return developed(scene, random, 0.02, int(random.integers(30, 80)))


def _badly_lit(digit: np.ndarray, random: Random) -> bytes:
    ink = enlarged(digit, random.uniform(0.25, 0.5) * WIDTH, random)
    room = np.array([HEIGHT, WIDTH]) - ink.shape
    top, left = (round(random.uniform(0.38, 0.62) * side) for side in room)
    surface = lined(paper((HEIGHT, WIDTH), random), random, bool(random.integers(2)), random.uniform(25, 60))
    page = drawn(surface, placed(ink, (HEIGHT, WIDTH), top, left), _dark_pen(random), random)
    scene = _lit(on_desk(page, random, int(random.integers(1, 5))), vignette((HEIGHT, WIDTH), random))
    return developed(_lit(scene, shadow((HEIGHT, WIDTH), random)), random)


PHOTOGRAPHS: dict[str, Photograph] = {
    "desk edge": _desk,
    "vignette": lambda digit, random: developed(
        _lit(_page(digit, random), vignette((HEIGHT, WIDTH), random)), random
    ),
    "shadow": lambda digit, random: developed(
        _lit(_page(digit, random), shadow((HEIGHT, WIDTH), random)), random
    ),
    "ruled paper": lambda digit, random: _on_lines(digit, random, squared=False),
    "squared paper": lambda digit, random: _on_lines(digit, random, squared=True),
    "pencil": lambda digit, random: developed(_page(digit, random, _pencil(random)), random),
    "whiteboard": _on_whiteboard,
    "perspective": _tilted_page,
    "blur": lambda digit, random: developed(blurred(_page(digit, random), random.uniform(2, 6)), random),
    "strong JPEG": lambda digit, random: developed(
        _page(digit, random), random, quality=int(random.integers(5, 20))
    ),
    "chalk": _in_chalk,
    "coloured ink": _in_colour,
    "biro": _with_biro,
    "ink at the border": _at_border,
    "faint strokes": _faint,
    "desk, lines, vignette, tilt, blur, JPEG": _everything,
    "desk, lines, vignette, shadow": _badly_lit,
}
"""Photographs of one digit, by their names in the table."""
