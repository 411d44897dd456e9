"""Reliability of probabilities: how often predictions of each confidence are right."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32

BINS = 15
"""Number of bins of confidence, as in Guo et al. (2017)."""


class Bin(NamedTuple):
    """Predictions whose confidence is in one of `BINS` equal parts of [0, 1]."""

    low: float
    """Lower end of the confidence; a bin holds those above it."""
    examples: int
    """Number of predictions."""
    confidence: float
    """Their mean confidence."""
    accuracy: float
    """Share of the right ones, in [0, 1]."""


def reliability(confidences: Float32[np.ndarray, " n"], correct: Bool[np.ndarray, " n"]) -> list[Bin]:
    """Groups predictions by confidence; bins without predictions are left out."""
    number = np.clip(np.ceil(confidences.astype(np.float64) * BINS).astype(int) - 1, 0, BINS - 1)
    found = []
    for place in np.unique(number):
        within = number == place
        confidence = float(confidences[within].mean(dtype=np.float64))
        found.append(Bin(float(place / BINS), int(within.sum()), confidence, float(correct[within].mean())))
    return found


def expected_calibration_error(bins: list[Bin]) -> float:
    """Mean distance of confidence and accuracy, weighted by the number of predictions; in [0, 1]."""
    total = sum(part.examples for part in bins)
    return sum(part.examples * abs(part.confidence - part.accuracy) for part in bins) / total
