"""Warnings for digits and for other images: `python -m tests.no_digits --weights F` counts them."""

import argparse
from pathlib import Path

import jax
import numpy as np

from jaxmnist.data import load_dataset
from jaxmnist.data.mnist_style import to_mnist_style
from jaxmnist.inference.evaluate import wilson_interval
from jaxmnist.inference.out_of_distribution import find_doubt
from jaxmnist.runs.weights import read_weights
from jaxmnist.train.network import Network


def pairs(images: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Returns pages with two digits side by side, 2 to 10 of their pixels apart, in the style of MNIST."""
    found = []
    for _ in range(count):
        one, other = (_cropped(image) for image in images[random.integers(len(images), size=2)])
        gap = np.zeros((28, int(random.integers(2, 11))), np.uint8)
        row = np.pad(np.concatenate([one, gap, other], axis=1), 12)
        found.append(to_mnist_style(row.repeat(4, axis=0).repeat(4, axis=1)))
    return np.stack(found)


def noise_pages(count: int, random: np.random.Generator) -> np.ndarray:
    """Returns grey pages of 100x100 pixels with normally distributed grain and nothing else, in the style of MNIST."""
    return np.stack([to_mnist_style(_bytes(random.normal(128, 20, (100, 100)))) for _ in range(count)])


def noise(count: int, random: np.random.Generator) -> np.ndarray:
    """Returns 28x28 pixels of random grey values."""
    return np.stack(
        [to_mnist_style(image) for image in random.integers(0, 256, (count, 28, 28), dtype=np.uint8)]
    )


def blank_pages(count: int, random: np.random.Generator) -> np.ndarray:
    """Returns pages of one grey value each, in the style of MNIST."""
    return np.stack(
        [to_mnist_style(np.full((100, 100), grey, np.uint8)) for grey in random.integers(0, 256, count)]
    )


def doubted(network: Network, images: np.ndarray) -> list[str | None]:
    """Returns the warning for each image."""
    _, log_probs = network.predict(images)
    return [find_doubt(image, row) for image, row in zip(images, np.exp(log_probs), strict=True)]


def main() -> None:
    """Counts the warnings and prints a Markdown table and the reasons."""
    parser = argparse.ArgumentParser(prog="python -m tests.no_digits", description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, metavar="F", help="weights file (.npz)")
    parser.add_argument("--count", type=int, default=1000, metavar="N", help="drawn images (default: 1000)")
    parser.add_argument("--train", action="store_true", help="also count for the 60,000 training images")
    parser.add_argument("--data-dir", type=Path, help="folder with the datasets' folders")
    parser.add_argument("--seed", type=int, default=0, help="seed of all random choices (default: 0)")
    options = parser.parse_args()
    network = read_weights(options.weights, jax.devices()[0])
    mnist, fashion = (load_dataset(name, options.data_dir) for name in ("mnist", "fashion_mnist"))
    random = np.random.default_rng(options.seed)
    shown = {"MNIST, training": mnist.train_images} if options.train else {}
    shown |= {
        "MNIST, test": mnist.test_images,
        "Fashion-MNIST, test": fashion.test_images,
        "two test digits side by side": pairs(mnist.test_images, options.count, random),
        "noise, 28x28": noise(options.count, random),
        "pages of noise": noise_pages(options.count, random),
        "blank pages": blank_pages(options.count, random),
    }
    print("| images | warned of | share in percent | 95 % interval |\n|---|---|---|---|")
    reasons = {}
    for name, images in shown.items():
        doubts = [doubt for doubt in doubted(network, images) if doubt]
        low, high = wilson_interval(len(doubts), len(images))
        share = f"{100 * len(doubts) / len(images):.2f} | {low:.2f} to {high:.2f}"
        print(f"| {name} | {len(doubts):,} of {len(images):,} | {share} |")
        reasons[name] = np.unique([_kind(doubt) for doubt in doubts], return_counts=True)
    for name, (kinds, counts) in reasons.items():
        parts = (f"{count:,} {kind}" for kind, count in zip(kinds, counts, strict=True))
        print(f"{name}: {', '.join(parts)}")


def _kind(doubt: str) -> str:
    return "the network is not sure" if "sure" in doubt else doubt


def _cropped(image: np.ndarray) -> np.ndarray:
    columns = np.flatnonzero(image.max(axis=0))
    return image[:, columns[0] : columns[-1] + 1]


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
