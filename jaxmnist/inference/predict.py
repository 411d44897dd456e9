"""Predictions for image files."""

import itertools
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from jaxmnist.data.dataset import DIGITS, DatasetInfo, Fit
from jaxmnist.data.fitting import to_28x28
from jaxmnist.data.image_paths import STANDARD_INPUT
from jaxmnist.data.images import read_grey, read_grey_stream
from jaxmnist.data.mnist_style import Ink
from jaxmnist.errors import DataError
from jaxmnist.inference.out_of_distribution import find_doubt
from jaxmnist.inference.reading import Reading, read_digits
from jaxmnist.train.jit import EVAL_BATCH
from jaxmnist.train.network import Network


@dataclass(frozen=True)
class FilePrediction:
    """Prediction for an image file."""

    file: str
    """The path."""
    prediction: int
    """The likeliest class."""
    probabilities: list[float]
    """Probability of each class, in [0, 1]."""
    warning: str | None
    """Reason to doubt the prediction, see `jaxmnist.inference.out_of_distribution`."""
    classes: tuple[str, ...] = DIGITS
    """Names of all classes."""

    @property
    def name(self) -> str:
        """Name of the likeliest class."""
        return self.classes[self.prediction]

    @property
    def confidence(self) -> float:
        """Probability of the likeliest class."""
        return self.probabilities[self.prediction]

    @property
    def top_three(self) -> list[int]:
        """The three likeliest classes."""
        return np.argsort(-np.array(self.probabilities), kind="stable")[:3].tolist()

    def as_json(self) -> dict[str, Any]:
        """Returns the prediction as plain JSON values."""
        top = [
            {"class": label, "name": self.classes[label], "probability": self.probabilities[label]}
            for label in self.top_three
        ]
        found = {"name": self.name, "confidence": self.confidence, "top_three": top}
        return {key: value for key, value in asdict(self).items() if key != "classes"} | found


@dataclass(frozen=True)
class UnreadableFile:
    """An image file that cannot be read."""

    file: str
    """The path."""
    error: str
    """The reason, a sentence."""

    def as_json(self) -> dict[str, Any]:
        """Returns the fields as plain JSON values."""
        return asdict(self)


class FileReading(NamedTuple):
    """The digits in an image file."""

    file: str
    """The path."""
    reading: Reading
    """Its digits."""
    grey: UInt8[np.ndarray, "height width"]
    """The grey values that the boxes refer to."""

    def as_json(self) -> dict[str, Any]:
        """Returns file and digits as plain JSON values."""
        return {"file": self.file} | self.reading.as_json()


def predict_files(
    network: Network, files: Iterable[Path | str], ink: Ink = "auto"
) -> Iterator[FilePrediction | UnreadableFile]:
    """Predicts image files, in order; at most one batch of images is in memory at a time.

    Args:
        network: the network; images are brought into the style of the dataset of its run.
        files: paths, and `STANDARD_INPUT` for the image on standard input.
        ink: brightness of the ink, see `jaxmnist.data.mnist_style.to_mnist_style`.
    """
    files, about, least = iter(files), network.data_info, 0
    while batch := list(itertools.islice(files, EVAL_BATCH)):
        read = [_read(file, about, ink) for file in batch]
        images = [image for image in read if not isinstance(image, DataError)]
        blank = [np.zeros((28, 28), np.uint8)] * (least - len(images)) if images else []
        outputs = zip(*network.probabilities(np.stack(images + blank)), strict=True) if images else iter(())
        least = EVAL_BATCH  # a later batch, if shorter, shares the program of a whole one
        for file, image in zip(batch, read, strict=True):
            if isinstance(image, DataError):
                yield UnreadableFile(str(file), str(image))
            else:
                prediction, probabilities = next(outputs)
                warning = find_doubt(image, probabilities, about.is_digits)
                yield FilePrediction(
                    str(file), int(prediction), probabilities.tolist(), warning, about.classes
                )


def read_files(
    network: Network, files: Iterable[Path | str], ink: Ink = "auto", touching: bool = False
) -> Iterator[FileReading | UnreadableFile]:
    """Reads the digits in each of several image files, in order; arguments as for `predict_files` and `read_digits`."""
    for file in files:
        grey = _grey(file)
        if isinstance(grey, DataError):
            yield UnreadableFile(str(file), str(grey))
        else:
            yield FileReading(str(file), read_digits(network, grey, ink, touching), grey)


def preparation(about: DatasetInfo, ink: Ink) -> tuple[Ink, int, Fit, bool]:
    """Returns ink, side, fit and is_digits, with which `jaxmnist.data.images` prepares a network's images.

    Ink "auto" is found in each image that is fitted as MNIST's; otherwise it is that of the training data.
    """
    if about.fit != "mnist" and ink == "auto":
        ink = "dark" if about.inverted else "light"
    return ink, about.ink_side, about.fit, about.is_digits


def _read(file: Path | str, about: DatasetInfo, ink: Ink) -> UInt8[np.ndarray, "28 28"] | DataError:
    grey = _grey(file, about.fit)
    if isinstance(grey, DataError):
        return grey
    ink, side, fit, is_digits = preparation(about, ink)
    return to_28x28(grey, fit, ink, side, is_digits)


def _grey(file: Path | str, fit: Fit = "mnist") -> UInt8[np.ndarray, "height width"] | DataError:
    try:
        if file != STANDARD_INPUT:
            return read_grey(Path(file), fit)
        if sys.stdin.isatty():
            raise DataError("standard input is a terminal; pipe an image into it, or name a file.")
        return read_grey_stream(sys.stdin.buffer.read, "standard input", fit)
    except DataError as error:
        return error
