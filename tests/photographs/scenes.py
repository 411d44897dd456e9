"""Scenes: surfaces, light and optics, and the photographs of one digit that are made of them.

All values are from 0 to 1 until `developed`. Every random choice is drawn from the generator that is passed in.
"""

import io
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

Random = np.random.Generator

HEIGHT, WIDTH = 440, 340
"""Pixels of a photograph of one digit."""


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


def somewhere(digit: np.ndarray, random: Random, low: float = 0.3, high: float = 0.7) -> np.ndarray:
    """Returns a page with the digit anywhere, its side that share of the page's width."""
    ink = enlarged(digit, random.uniform(low, high) * WIDTH, random)
    room = np.array([HEIGHT, WIDTH]) - ink.shape
    top, left = (round(random.uniform(0.08, 0.92) * side) for side in room)
    return placed(ink, (HEIGHT, WIDTH), top, left)


def smooth_noise(shape: tuple[int, int], random: Random, scale: float) -> np.ndarray:
    """Returns blotches of about `scale` pixels, with mean 0 and deviation 1."""
    coarse = random.normal(size=tuple(int(side / scale) + 4 for side in shape))
    fine = np.asarray(ndimage.zoom(coarse, scale, order=1))[: shape[0], : shape[1]]
    return ((fine - fine.mean()) / fine.std()).astype(np.float32)


def paper(shape: tuple[int, int], random: Random) -> np.ndarray:
    """Returns a sheet, `[height, width, 3]`: nearly white, grey or tinted, with faint blotches."""
    tint = random.uniform(0.72, 0.97) * (1 - random.uniform(0, 0.08, 3))
    return (tint * (1 + 0.008 * smooth_noise(shape, random, 12)[..., None])).astype(np.float32)


def board(shape: tuple[int, int], random: Random) -> np.ndarray:
    """Returns a blackboard, green or black, with smears of chalk."""
    colour = np.array([[0.13, 0.22, 0.17], [0.12, 0.12, 0.13], [0.2, 0.24, 0.25]][random.integers(3)])
    smears = np.clip(smooth_noise(shape, random, 40), 0, None)[..., None]
    return (colour + random.uniform(0, 0.025) * smears).astype(np.float32)


def lined(surface: np.ndarray, random: Random, squared: bool, distance: float) -> np.ndarray:
    """Returns paper with printed lines, `distance` pixels apart: paler than ink, blue, grey or red."""
    height, width = surface.shape[:2]
    colour = np.array([[0.35, 0.5, 0.8], [0.45, 0.45, 0.45], [0.8, 0.4, 0.4]][random.integers(3)])
    opacity, thickness = random.uniform(0.2, 0.6), random.uniform(1, 2.2)
    slope = np.tan(np.radians(random.uniform(-4, 4)))
    down, across = np.mgrid[:height, :width]
    lines = np.zeros((height, width))
    for position in [down + slope * across] + [across - slope * down] * squared:
        nearest = np.abs((position + random.uniform(0, distance)) % distance - distance / 2)
        lines = np.maximum(lines, np.clip(thickness / 2 + 0.5 - nearest, 0, 1))
    share = opacity * lines[..., None]
    return (surface * (1 - share) + colour * surface * share).astype(np.float32)


def on_desk(page: np.ndarray, random: Random, edges: int) -> np.ndarray:
    """Lays a page on a desk, which shows along one to four edges: dark or medium, plain or grained."""
    height, width = page.shape[:2]
    shade = random.uniform(0.04, 0.6) * (1 - random.uniform(0, 0.5, 3) * random.integers(2))
    grain = smooth_noise((height, width), random, 3) * 0.02
    if random.integers(2):
        grain = grain + 0.06 * np.sin(np.arange(height)[:, None] / random.uniform(2, 9) + 2 * grain)
    desk = np.clip(shade * (1 + grain[..., None]), 0, 1)
    down, across = np.mgrid[:height, :width].astype(np.float32)
    slope = np.tan(np.radians(random.uniform(-4, 4)))
    down, across = down + slope * (across - width / 2), across - slope * (down - height / 2)
    distances = np.array([down, height - 1 - down, across, width - 1 - across])
    within = np.full((height, width), np.inf)
    for side in random.choice(4, edges, replace=False):
        # Never over the digit, whose place is not known here: scenes leave that much room.
        within = np.minimum(within, distances[side] - random.uniform(0.02, 0.1) * width)
    shadow = 1 - random.uniform(0, 0.35) * np.exp(-np.clip(-within, 0, None) / random.uniform(2, 10))
    share = np.clip(within + 0.5, 0, 1)[..., None]
    return (page * share + desk * shadow[..., None] * (1 - share)).astype(np.float32)


def drawn(surface: np.ndarray, ink: np.ndarray, pen: Pen, random: Random) -> np.ndarray:
    """Returns a surface with ink on it."""
    share = pen.opacity * ink
    if pen.grain:
        roughness = 0.5 + 0.5 * np.clip(smooth_noise(ink.shape, random, 1.7), -1, 1)
        share = share * (1 - pen.grain * roughness)
    return surface * (1 - share[..., None]) + np.array(pen.colour, np.float32) * share[..., None]


def vignette(shape: tuple[int, int], random: Random) -> np.ndarray:
    """Returns light that falls off towards the corners, to 25 to 70 % of the middle."""
    down, across = (np.linspace(-1, 1, side) for side in shape)
    radius = np.hypot(down[:, None] - random.uniform(-0.2, 0.2), across - random.uniform(-0.2, 0.2))
    return 1 - random.uniform(0.3, 0.75) * (radius / radius.max()) ** random.uniform(1.5, 4)


def shadow(shape: tuple[int, int], random: Random) -> np.ndarray:
    """Returns light with the shadow of a hand or an edge across it, more or less soft."""
    down, across = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    angle = random.uniform(0, 2 * np.pi)
    middle = np.array(shape) * random.uniform(0.2, 0.8, 2)
    along = np.cos(angle) * (across - middle[1]) + np.sin(angle) * (down - middle[0])
    if random.integers(2):  # round
        along = np.hypot(down - middle[0], across - middle[1]) - random.uniform(0.25, 0.6) * shape[1]
    softness = random.uniform(0.01, 0.12) * shape[1]
    return 1 - random.uniform(0.25, 0.6) / (1 + np.exp(-along / softness))


def slanting(shape: tuple[int, int], random: Random, least: float = 0.6) -> np.ndarray:
    """Returns light that falls off from one side to the other."""
    angle = random.uniform(0, 2 * np.pi)
    down, across = (np.linspace(-1, 1, side) for side in shape)
    slope = np.cos(angle) * across + np.sin(angle) * down[:, None]
    return 1 - random.uniform(0, 1 - least) * (slope - slope.min()) / np.ptp(slope)


def highlight(shape: tuple[int, int], random: Random) -> np.ndarray:
    """Returns the reflection of a lamp, to be added."""
    down, across = np.mgrid[: shape[0], : shape[1]]
    middle = np.array(shape) * random.uniform(0, 1, 2)
    square = ((down - middle[0]) ** 2 + (across - middle[1]) ** 2) / (
        random.uniform(0.1, 0.3) * shape[1]
    ) ** 2
    return random.uniform(0.05, 0.3) * np.exp(-square)


def tilted(scene: np.ndarray, random: Random, degrees: float) -> np.ndarray:
    """Returns the photograph of a scene from a camera tilted by up to that angle about each axis."""
    height, width = scene.shape[:2]
    x, y, z = np.radians(random.uniform(-degrees, degrees, 3))
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    turn, distance = about_z @ about_y @ about_x, 1.3 * max(height, width)
    down, across = np.mgrid[:height, :width].astype(float)
    # From each pixel a ray to the plane of the scene.
    rays = np.stack([across - width / 2, down - height / 2, np.full(down.shape, distance)]).reshape(3, -1)
    normal = turn @ [0, 0, 1]
    points = rays * (distance * normal[2] / (normal @ rays)) - np.array([[0], [0], [distance]])
    on_scene = turn.T @ points
    place = [on_scene[1] + height / 2, on_scene[0] + width / 2]
    channels = [
        ndimage.map_coordinates(scene[..., channel], place, order=1, mode="nearest") for channel in range(3)
    ]
    return np.stack(channels, axis=-1).reshape(scene.shape)


def blurred(scene: np.ndarray, deviation: float) -> np.ndarray:
    return ndimage.gaussian_filter(scene, (deviation, deviation, 0), mode="nearest")


def developed(scene: np.ndarray, random: Random, noise: float = 0.012, quality: int = 85) -> bytes:
    """Returns the JPEG file of a scene, with the noise of a sensor."""
    grain = random.normal(0, noise, scene.shape[:2])[..., None] + random.normal(0, noise / 2, scene.shape)
    values = np.clip(np.round(255 * (scene + grain)), 0, 255).astype(np.uint8)
    content = io.BytesIO()
    Image.fromarray(values).save(content, "JPEG", quality=quality)
    return content.getvalue()


Photograph = Callable[[np.ndarray, Random], bytes]
"""Function from a 28x28 digit to the bytes of a photograph of it."""


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
}
"""Photographs of one digit, by their names in the table."""
