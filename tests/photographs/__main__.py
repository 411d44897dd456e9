"""Photographs that are read: `python -m tests.photographs RUN` measures every row of docs/photographs.md.

Digits are MNIST's test images, each row has its own seed, and nothing was tuned on these seeds or images. Prints a
table in Markdown; `--out` keeps the figures as JSON, row by row, and the same command again goes on from there.
"""

import argparse
import io
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from jaxmnist.data import Dataset, load_dataset
from jaxmnist.data.images import read_grey_stream, read_stream
from jaxmnist.inference.evaluate import evaluate_split, wilson_interval
from jaxmnist.inference.opening import open_network
from jaxmnist.inference.out_of_distribution import find_doubt
from jaxmnist.inference.reading import read_digits
from jaxmnist.train.network import Network
from tests.photographs.layouts import LAYOUTS, png
from tests.photographs.scenes import PHOTOGRAPHS
from tests.photographs.sequences import SEQUENCES, TOUCHING

SEED = 70_000
"""Of the first row; tuning used others."""

_REQUIRED = 10
"""Photographs that have as many images as asked for; the others have 200."""

_LIMITS = 0.5, 0.63, 0.8, 0.9, 0.95, 0.99, 0.999
"""Confidences below which the trade-off warns."""

_SURE = np.eye(10, dtype=np.float32)[0]

Draw = Callable[[np.ndarray, np.random.Generator], bytes]


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.photographs", description=__doc__)
    parser.add_argument("network", type=Path, help="run folder or weights file of a network for MNIST")
    parser.add_argument("--count", type=int, default=500, metavar="N", help="images of a row (default: 500)")
    parser.add_argument("--data-dir", type=Path, help="folder with the four IDX files of MNIST")
    parser.add_argument(
        "--out", type=Path, metavar="JSON", help="file for the figures; rows that it has are kept"
    )
    options = parser.parse_args()
    network = open_network(options.network, jax.devices("cpu")[0])
    mnist = load_dataset("mnist", options.data_dir)
    images, labels = mnist.test_images, mnist.test_labels
    draws: dict[str, Draw] = {f"28x28: {name}": _drawn(layout) for name, layout in LAYOUTS.items()}
    draws |= PHOTOGRAPHS
    rows = json.loads(options.out.read_text())["rows"] if options.out and options.out.exists() else []
    done = {row["name"] for row in rows}

    def keep(row: dict[str, Any]) -> None:
        rows.append(row)
        print(row["name"], row["wrong"], row["unwarned"], file=sys.stderr, flush=True)
        if options.out:
            options.out.write_text(json.dumps({"rows": rows}) + "\n")

    for number, (name, draw) in enumerate(draws.items()):
        if name not in done:
            count = options.count if number < len(LAYOUTS) + _REQUIRED else min(options.count, 200)
            keep(_singles(network, images, labels, name, draw, count, SEED + number))
    for number, (name, draw) in enumerate(SEQUENCES.items()):
        if f"four digits, {name}" not in done:
            count = options.count * 2 // 5
            keep(_sequences(network, images, labels, name, draw, count, SEED + 100 + number))
    figures = _figures(network, mnist, rows)
    print(table(figures))
    if options.out:
        options.out.write_text(json.dumps(figures, indent=2) + "\n")


def _figures(network: Network, mnist: Dataset, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the rows, figures over all of them and over MNIST's test images, and the trade-off of warnings."""
    images, labels = mnist.test_images, mnist.test_labels
    predictions, shares = network.probabilities(images)
    doubted = np.array([find_doubt(*pair) is not None for pair in zip(images, shares, strict=True)])
    wrong, unwarned = (sum(row[name] for row in rows) for name in ("wrong", "unwarned"))
    error = evaluate_split(network, mnist, "test").expected_calibration_error
    summary = {
        "unwarned misreadings, percent of all images": 100 * unwarned / sum(row["images"] for row in rows),
        "misreadings warned of, percent": 100 * (1 - unwarned / max(1, wrong)),
        "warnings on MNIST test, percent": 100 * float(doubted.mean()),
        "false alarms on MNIST test, percent": 100 * float((doubted & (predictions == labels)).mean()),
        "expected calibration error (15 bins)": error,
        "temperature": network.temperature,
        "seconds for a photograph of 12 megapixels": _seconds(network, images[0]),
    }
    test = _warned(images, shares, predictions != labels)
    trade_off = [_trade_off(limit, rows, sum(test[str(limit)]) / len(images)) for limit in _LIMITS]
    return {"rows": rows, "summary": summary, "trade_off": trade_off}


def table(figures: dict[str, Any]) -> str:
    """Returns the figures as two tables in Markdown."""
    lines = [
        "| picture | right | 95 % interval | wrong (without a warning) | false alarms |",
        "|---|---|---|---|---|",
    ]
    for row in figures["rows"]:
        right = row["images"] - row["wrong"]
        low, high = wilson_interval(right, row["images"])
        share = f"{100 * right / row['images']:.1f} % | {low:.1f} to {high:.1f}"
        wrong = f"{row['wrong']} ({row['unwarned']}) of {row['images']}"
        lines.append(f"| {row['name']} | {share} | {wrong} | {row['false_alarms']} |")
    lines += ["", "| over all | |", "|---|---|"]
    lines += [f"| {name} | {value:.3g} |" for name, value in figures["summary"].items()]
    names = figures["trade_off"][0]
    lines += ["", f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for line in figures["trade_off"]:
        lines.append(f"| {' | '.join(f'{value:.3g}' for value in line.values())} |")
    return "\n".join(lines)


def _warned(images: np.ndarray, shares: np.ndarray, wrong: np.ndarray) -> dict[str, list[int]]:
    """Counts, for each limit of the confidence, the misread and the rightly read images that are warned of."""
    oddly_shaped = np.array([find_doubt(image, _SURE) is not None for image in images])
    warned = {str(limit): oddly_shaped | (shares.max(1) < limit) for limit in _LIMITS}
    return {limit: [int((of & wrong).sum()), int((of & ~wrong).sum())] for limit, of in warned.items()}


def _trade_off(limit: float, rows: Sequence[dict[str, Any]], on_test: float) -> dict[str, float]:
    """Returns the warnings at another limit of the confidence, in percent."""
    single = [row for row in rows if "warned_below" in row]
    wrong, right = np.sum([row["warned_below"][str(limit)] for row in single], axis=0)
    misread = sum(row["wrong"] for row in single)
    return {
        "warned of below": limit,
        "of MNIST test, percent": 100 * on_test,
        "of the misread pictures of one digit, percent": 100 * float(wrong) / max(1, misread),
        "of those read rightly, percent": 100
        * float(right)
        / (sum(row["images"] for row in single) - misread),
    }


def _drawn(layout: Callable[..., np.ndarray]) -> Draw:
    return lambda digit, random: png(np.ascontiguousarray(layout(digit, random, 28)))


def _singles(
    network: Network, images: np.ndarray, labels: np.ndarray, name: str, draw: Draw, count: int, seed: int
) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    index = random.choice(len(images), count, replace=False)
    files = [draw(images[i], random) for i in index]
    read = np.stack([read_stream(io.BytesIO(file).read, name, is_digits=True) for file in files])
    predictions, shares = network.probabilities(read)
    wrong = predictions != labels[index]
    doubted = np.array([find_doubt(*pair) is not None for pair in zip(read, shares, strict=True)])
    return _row(name, count, wrong, doubted) | {"warned_below": _warned(read, shares, wrong)}


def _sequences(
    network: Network, images: np.ndarray, labels: np.ndarray, name: str, draw: Draw, count: int, seed: int
) -> dict[str, Any]:
    random, wrong, doubted = np.random.default_rng(seed), [], []
    for _ in range(count):
        index = random.choice(len(images), 4, replace=False)
        content = draw(images[index], random)
        grey = read_grey_stream(io.BytesIO(content).read, name)
        reading = read_digits(network, grey, touching=name == TOUCHING)
        text = "\n".join(reading.lines).replace(" ", "")
        wrong.append(text != "".join(map(str, labels[index])))
        doubted.append(bool(reading.warnings))
    return _row(f"four digits, {name}", count, np.array(wrong), np.array(doubted))


def _row(name: str, count: int, wrong: np.ndarray, doubted: np.ndarray) -> dict[str, Any]:
    figures = {"wrong": wrong, "unwarned": wrong & ~doubted, "false_alarms": doubted & ~wrong}
    return {"name": name, "images": count} | {key: int(value.sum()) for key, value in figures.items()}


def _seconds(network: Network, digit: np.ndarray) -> float:
    """Returns the median time to read a JPEG of 4000 x 3000 pixels, from bytes to probabilities."""
    page = np.full((3000, 4000), 225, np.uint8)
    page[900:2020, 1500:2620] -= np.asarray(Image.fromarray(digit).resize((1120, 1120))) // 255 * 180
    noise = np.random.default_rng(0).normal(0, 4, page.shape)
    content = io.BytesIO()
    Image.fromarray(np.clip(page + noise, 0, 255).astype(np.uint8)).save(content, "JPEG", quality=90)
    times = []
    for _ in range(5):
        began = time.perf_counter()
        image = read_stream(io.BytesIO(content.getvalue()).read, "photograph", is_digits=True)
        network.probabilities(image[None])
        times.append(time.perf_counter() - began)
    return float(np.median(times))


if __name__ == "__main__":
    main()
