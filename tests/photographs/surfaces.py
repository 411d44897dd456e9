"""Surfaces that are drawn on, and the desk below: `[height, width, 3]`, values from 0 to 1."""

import numpy as np
from scipy import ndimage

Random = np.random.Generator


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
