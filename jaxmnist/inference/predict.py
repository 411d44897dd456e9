"""Predictions for image files."""

import itertools
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from jaxmnist.data.image_paths import STANDARD_INPUT
from jaxmnist.data.images import read_image, read_stream
from jaxmnist.data.mnist_style import INK_SIDE, Ink
from jaxmnist.errors import DataError
from jaxmnist.inference.out_of_distribution import find_doubt
from jaxmnist.train.jit import EVAL_BATCH
from jaxmnist.train.network import Network


def predict_files(
    network: Network, files: Iterable[Path | str], ink: Ink = "auto"
) -> Iterator[dict[str, Any]]:
    """Classifies image files; those that cannot be read do not keep the others from it.

    However many there are, no more than a batch of images is in memory at a time.

    Args:
        network: the network; images are fitted in as those of the dataset that its run was trained on.
        files: paths, and `STANDARD_INPUT` for the image that is read from there.
        ink: whether the images have light or dark ink, see `jaxmnist.data.mnist_style.to_mnist_style`.

    Yields:
        For each image, in order, plain JSON values. `file`; and `prediction`, its `confidence` in [0, 1], the
        `top_three` classes with their probabilities, the ten `probabilities`, and the `warning` of
        `jaxmnist.inference.out_of_distribution`, which is null where there is nothing to warn of. Or, where it cannot be read, `file`
        and `error`, a sentence.
    """
    files = iter(files)
    padding = 0
    while batch := list(itertools.islice(files, EVAL_BATCH)):
        images: list[UInt8[np.ndarray, "28 28"] | DataError] = [_read(network, file, ink) for file in batch]
        readable = [image for image in images if not isinstance(image, DataError)]
        rows = iter(_rows(network, readable, padding))
        padding = EVAL_BATCH  # a later batch, if shorter, shares the program of a whole one
        for file, image in zip(batch, images, strict=True):
            outcome = {"error": str(image)} if isinstance(image, DataError) else next(rows)
            yield {"file": str(file)} | outcome


def ink_side(network: Network) -> int:
    """Longer side, in pixels, of the ink in the images that a network was trained on."""
    return INK_SIDE.get(network.config.dataset, 20) if network.config else 20


def _read(network: Network, file: Path | str, ink: Ink) -> UInt8[np.ndarray, "28 28"] | DataError:
    try:
        if file == STANDARD_INPUT:
            if sys.stdin.isatty():
                raise DataError("standard input is a terminal; pipe an image into it, or name a file.")
            return read_stream(sys.stdin.buffer.read, "standard input", ink, ink_side(network))
        return read_image(Path(file), ink, ink_side(network))
    except DataError as error:
        return error


def _rows(network: Network, images: list[np.ndarray], least: int) -> list[dict[str, Any]]:
    if not images:
        return []
    blank = [np.zeros_like(images[0])] * (least - len(images))
    predictions, log_probs = network.predict(np.stack(images + blank))
    is_digit = network.config is None or network.config.dataset != "fashion_mnist"
    rows = []
    for image, prediction, probabilities in zip(images, predictions, np.exp(log_probs), strict=False):
        likeliest = np.argsort(-probabilities, kind="stable")[:3]
        rows.append(
            {
                "prediction": int(prediction),
                "confidence": float(probabilities[prediction]),
                "top_three": [{"class": int(i), "probability": float(probabilities[i])} for i in likeliest],
                "probabilities": probabilities.tolist(),
                "warning": find_doubt(image, probabilities, is_digit),
            }
        )
    return rows
