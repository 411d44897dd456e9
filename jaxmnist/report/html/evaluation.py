"""Evaluations for a page: the misclassified images, the confusion matrix, and samples of the augmentation."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from jaxmnist.report.facts import RunFacts, Samples

SHOWN = 40
"""Number of misclassified images on a page."""
_COMMONEST = 20  # mistakes
_GAP = 2  # pixels between two images


class Misclassified(NamedTuple):
    """A test image that every one of some runs gets wrong."""

    number: int
    """Index of the image."""
    pixels: UInt8[np.ndarray, "28 28"]
    label: str
    """The true class."""
    answers: list[str]
    """The predicted class, once if all runs agree; otherwise one for each run, with the run's name."""
    predicted: list[str]
    """The predicted class of each run."""
    confidence: float
    """Probability of the predicted class, the lowest of all runs, in percent."""


def misclassified(found: Sequence[RunFacts], names: Sequence[str]) -> list[Misclassified]:
    """Lists the test images that all runs get wrong, the most confident mistake first."""
    mistakes = [
        {mistake.index: mistake for mistake in run.evaluation.mistakes} for run in found if run.evaluation
    ]
    classes, common = found[0].classes, []
    for index in set.intersection(*map(set, mistakes)):
        each = [of_run[index] for of_run in mistakes]
        predicted = [classes[mistake.prediction] for mistake in each]
        named = [f"{name} {said}" for name, said in zip(names, predicted, strict=True)]
        common.append(
            Misclassified(
                number=index,
                pixels=found[0].pictures[index],
                label=classes[each[0].label],
                answers=predicted[:1] if len(set(predicted)) == 1 else named,
                predicted=predicted,
                confidence=100 * min(mistake.confidence for mistake in each),
            )
        )
    return sorted(common, key=lambda image: (-image.confidence, image.number))


def most_confused(confusion: list[list[int]]) -> int:
    """Returns the largest number of a confusion matrix off its diagonal, at least 1."""
    matrix = np.array(confusion)
    return max(1, int((matrix - np.diag(np.diag(matrix))).max()))


def commonest_mistakes(confusion: list[list[int]]) -> list[tuple[int, int, int]]:
    """Returns the most frequent mistakes: class, predicted class and number of images."""
    matrix = np.array(confusion)
    np.fill_diagonal(matrix, 0)
    order = np.argsort(-matrix, axis=None, kind="stable")[:_COMMONEST]
    labels, predictions = np.unravel_index(order, matrix.shape)
    found = zip(labels.tolist(), predictions.tolist(), matrix[labels, predictions].tolist(), strict=True)
    return [mistake for mistake in found if mistake[2]]


def strips(samples: Samples) -> list[UInt8[np.ndarray, "height width 2"]]:
    """Draws the originals in a row, and their versions in rows, as grey values and opacity."""
    versions = np.clip(np.rint(samples.versions), 0, 255).astype(np.uint8)
    return [_mosaic(samples.originals[None]), _mosaic(versions)]


def _mosaic(images: UInt8[np.ndarray, "rows n 28 28"]) -> UInt8[np.ndarray, "height width 2"]:
    # The page shines through the gaps.
    ink = np.stack([images, np.full_like(images, 255)], axis=-1)
    tiles = np.pad(ink, ((0, 0), (0, 0), (0, _GAP), (0, _GAP), (0, 0)))
    rows, _, side = tiles.shape[:3]
    return tiles.transpose(0, 2, 1, 3, 4).reshape(rows * side, -1, 2)[:-_GAP, :-_GAP]
