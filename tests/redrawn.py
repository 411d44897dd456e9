"""Test digits in pictures as people make them: `python -m tests.redrawn --weights F` counts those that are still read.

Each digit is drawn anew, saved as a file, and read as `predict` reads files. The table is Markdown.
"""

import argparse
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from PIL import Image
from scipy import ndimage

from jaxmnist.data import Dataset, load_dataset
from jaxmnist.data.images import read_stream
from jaxmnist.inference.evaluate import wilson_interval
from jaxmnist.inference.out_of_distribution import find_doubt
from jaxmnist.runs.weights import read_weights
from jaxmnist.train.network import Network

Draw = Callable[[np.ndarray, np.random.Generator], bytes]
"""Function from a 28x28 digit to the bytes of a picture file."""


def sample(dataset: Dataset, count: int, seed: int, split: str = "test") -> tuple[np.ndarray, np.ndarray]:
    """Returns images and labels of a split, the same number of each class."""
    images, labels = dataset.arrays[2:] if split == "test" else dataset.arrays[:2]
    random = np.random.default_rng(seed)
    chosen = [
        random.choice(np.flatnonzero(labels == digit), count // 10, replace=False) for digit in range(10)
    ]
    index = np.concatenate(chosen)
    return images[index], labels[index]


def png(grey: np.ndarray) -> bytes:
    return _saved(grey, "PNG")


def jpeg(grey: np.ndarray, quality: int = 90) -> bytes:
    return _saved(grey, "JPEG", quality=quality)


def ink_on_page(
    digit: np.ndarray,
    random: np.random.Generator,
    scale: float = 8.0,
    page: tuple[int, int] = (420, 420),
    off_centre: bool = False,
) -> np.ndarray:
    """Returns the ink of a page, from 0 to 1: the digit `scale` times as large on that height and width."""
    side = round(28 * scale)
    large = Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)
    room = np.array(page) - side
    top, left = random.integers(0, room + 1) if off_centre else room // 2
    ink = np.zeros(page, np.float32)
    ink[top : top + side, left : left + side] = np.asarray(large, np.float32) / 255
    return ink


def light_on_dark(ink: np.ndarray) -> np.ndarray:
    return _grey(255 * ink)


def dark_on_light(ink: np.ndarray) -> np.ndarray:
    """Returns the page as a dark pen draws it on paper that is not quite white."""
    return _grey(235 - 205 * ink)


def noisy(ink: np.ndarray, random: np.random.Generator, deviation: float) -> np.ndarray:
    """Returns `dark_on_light` with normally distributed grain; the deviation is in grey levels of 255."""
    return _grey(235 - 205 * ink + random.normal(0, deviation, ink.shape))


def unevenly_lit(ink: np.ndarray, random: np.random.Generator, darkest: float) -> np.ndarray:
    """Returns the page, with grain, under a light that falls off to the share `darkest` on one side."""
    angle = random.uniform(0, 2 * np.pi)
    down, across = np.meshgrid(*(np.linspace(-1, 1, side) for side in ink.shape), indexing="ij")
    slope = np.cos(angle) * across + np.sin(angle) * down
    light = darkest + (1 - darkest) * (slope - slope.min()) / np.ptp(slope)
    return _grey((225 - 180 * ink) * light + random.normal(0, 4, ink.shape))


def rotated(digit: np.ndarray, random: np.random.Generator, degrees: float) -> np.ndarray:
    """Returns the ink of a page, turned by the angle to either side."""
    turned = Image.fromarray(light_on_dark(ink_on_page(digit, random)))
    turned = turned.rotate(degrees * random.choice([-1, 1]), Image.Resampling.BICUBIC)
    return np.asarray(turned, np.float32) / 255


def restroked(digit: np.ndarray, random: np.random.Generator, pixels: int) -> np.ndarray:
    """Returns the ink of a page with strokes widened by that many pixels on each side, or thinned if negative.

    Eight of them are one pixel of the digit, whose strokes are two to four wide.
    """
    ink = ink_on_page(digit, random)
    change = ndimage.grey_dilation if pixels > 0 else ndimage.grey_erosion
    return change(ink, footprint=_disk(abs(pixels)))


TRANSFORMATIONS: dict[str, Draw] = {
    "as they are, 28x28": lambda digit, _: png(digit),
    "dark on light, 28x28": lambda digit, _: png(255 - digit),
    "larger": lambda digit, random: png(light_on_dark(ink_on_page(digit, random))),
    "3 to 14 times as large": lambda digit, random: png(
        light_on_dark(ink_on_page(digit, random, random.uniform(3, 14)))
    ),
    "off-centre": lambda digit, random: png(
        light_on_dark(ink_on_page(digit, random, 6, (500, 700), off_centre=True))
    ),
    "larger, dark on light": lambda digit, random: png(dark_on_light(ink_on_page(digit, random))),
    "JPEG, quality 90": lambda digit, random: jpeg(dark_on_light(ink_on_page(digit, random))),
    "JPEG, quality 50": lambda digit, random: jpeg(dark_on_light(ink_on_page(digit, random)), 50),
    "JPEG, quality 20": lambda digit, random: jpeg(dark_on_light(ink_on_page(digit, random)), 20),
    "small JPEG (84x84), quality 20": lambda digit, random: jpeg(
        dark_on_light(ink_on_page(digit, random, 2, (84, 84))), 20
    ),
    "noise of 10 grey levels": lambda digit, random: png(noisy(ink_on_page(digit, random), random, 10)),
    "noise of 30 grey levels": lambda digit, random: png(noisy(ink_on_page(digit, random), random, 30)),
    "turned by 15 degrees": lambda digit, random: png(dark_on_light(rotated(digit, random, 15))),
    "turned by 30 degrees": lambda digit, random: png(dark_on_light(rotated(digit, random, 30))),
    "thinner strokes": lambda digit, random: png(dark_on_light(restroked(digit, random, -5))),
    "thicker strokes": lambda digit, random: png(dark_on_light(restroked(digit, random, 5))),
    "light falls off to 80 %": lambda digit, random: jpeg(
        unevenly_lit(ink_on_page(digit, random), random, 0.8)
    ),
    "light falls off to 50 %": lambda digit, random: jpeg(
        unevenly_lit(ink_on_page(digit, random), random, 0.5)
    ),
    "photo: off-centre, light to 65 %, JPEG 50": lambda digit, random: jpeg(
        unevenly_lit(ink_on_page(digit, random, 7, (600, 800), off_centre=True), random, 0.65), 50
    ),
}
"""Transformations of a digit, by their names in the table."""


class Outcome(NamedTuple):
    """Results for the images of one transformation."""

    name: str
    images: int
    correct: int
    warned: int
    """Number of images with a warning that they do not look like a digit."""


def measure(network: Network, images: np.ndarray, labels: np.ndarray, name: str, seed: int) -> Outcome:
    """Redraws each image by a transformation, reads it as `predict` does, and counts."""
    draw, random = TRANSFORMATIONS[name], np.random.default_rng(seed)
    read = np.stack(
        [read_stream(io.BytesIO(draw(image, random)).read, name, is_digits=True) for image in images]
    )
    predictions, log_probs = network.predict(read)
    warned = sum(
        find_doubt(image, np.exp(row)) is not None for image, row in zip(read, log_probs, strict=True)
    )
    return Outcome(name, len(labels), int((predictions == labels).sum()), warned)


def table(outcomes: list[Outcome]) -> str:
    """Returns a Markdown table: accuracies in percent with their 95 % intervals."""
    lines = ["| drawn | correct | accuracy | 95 % interval | warned of |", "|---|---|---|---|---|"]
    for name, count, correct, warned in outcomes:
        low, high = wilson_interval(correct, count)
        share = f"{100 * correct / count:.1f} | {low:.1f} to {high:.1f}"
        lines.append(f"| {name} | {correct} of {count} | {share} | {warned} |")
    return "\n".join(lines)


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.redrawn", description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, metavar="F", help="weights file (.npz)")
    parser.add_argument("--count", type=int, default=200, metavar="N", help="images (default: 200)")
    parser.add_argument("--split", choices=["test", "train"], default="test", help="split (default: test)")
    parser.add_argument("--data-dir", type=Path, help="folder with the four IDX files of MNIST")
    parser.add_argument("--seed", type=int, default=0, help="seed of all random choices (default: 0)")
    options = parser.parse_args()
    network = read_weights(options.weights, jax.devices()[0])
    dataset = load_dataset("mnist", options.data_dir)
    images, labels = sample(dataset, options.count, options.seed, options.split)
    outcomes = []
    for name in TRANSFORMATIONS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        outcomes.append(measure(network, images, labels, name, options.seed))
    print(table(outcomes))


def _saved(grey: np.ndarray, kind: str, **options: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(grey).save(content, kind, **options)
    return content.getvalue()


def _grey(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def _disk(radius: int) -> np.ndarray:
    offsets = np.arange(-radius, radius + 1)
    return offsets[:, None] ** 2 + offsets**2 <= radius**2


if __name__ == "__main__":
    main()
