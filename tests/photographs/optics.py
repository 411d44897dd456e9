"""Light and camera: shadows, perspective, blur, noise and JPEG."""

import io

import numpy as np
from PIL import Image
from scipy import ndimage

from tests.photographs.surfaces import Random


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
