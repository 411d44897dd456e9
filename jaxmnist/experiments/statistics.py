"""Statistics of a training repeated over seeds, and of the difference between two trainings.

A seed is one draw from the outcomes of a recipe, so the interval of a mean is Student's t over seeds: it bounds the
mean over all seeds, on the same images. For the uncertainty that the choice of images adds see `over_images`.
"""

import dataclasses
import functools
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool
from scipy import stats

CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Summary:
    """One figure over seeds. With a single seed, fields that need two are None."""

    count: int
    mean: float
    standard_deviation: float | None
    """Standard deviation of the seeds, with n - 1."""
    low: float | None
    """Lower end of the 95 % confidence interval of the mean, Student's t with n - 1 degrees of freedom."""
    high: float | None
    """Upper end of the interval."""
    minimum: float
    maximum: float


@dataclasses.dataclass(frozen=True)
class Difference:
    """Difference of two means, first minus second, with its 95 % confidence interval and two-sided p-value."""

    mean: float
    low: float | None
    high: float | None
    p_value: float | None
    """None if there is nothing to test: all values are equal, or one side has a single value."""
    count: int
    """Number of values (of both sides), of pairs, or of images that the sides differ on."""


def summarise(values: Sequence[float]) -> Summary:
    """Computes mean, spread and confidence interval of at least one value."""
    array = np.asarray(values, np.float64)
    mean, low, high = float(array.mean()), float(array.min()), float(array.max())
    if len(array) == 1:
        return Summary(1, mean, None, None, None, low, high)
    spread = float(array.std(ddof=1))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(array) - 1)) * spread / math.sqrt(len(array))
    return Summary(len(array), mean, spread, mean - half, mean + half, low, high)


def share_settled(curves: Sequence[Sequence[float]], threshold: float) -> float:
    """Computes the share of curves whose last five epochs (or all, if fewer) reach a threshold."""
    return float(np.mean([min(curve[-5:]) >= threshold for curve in curves]))


def between_seeds(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Compares independent seeds by Welch's t-test, which allows the two sides different variances.

    It asks whether the means over all seeds differ, on these images.
    """
    is_constant = np.ptp(first) == 0 and np.ptp(second) == 0
    count = len(first) + len(second)
    if is_constant or min(len(first), len(second)) < 2:
        return Difference(float(np.mean(first) - np.mean(second)), None, None, None, count)
    return _t_test(functools.partial(stats.ttest_ind, equal_var=False), first, second, count)


def by_seed(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Compares the same seeds, in the same order, by a paired t-test.

    Both trainings of a seed see the same order of images and the same random changes, and equal networks start from
    equal weights. To the extent that this makes their results alike, the test is more sensitive than Welch's.
    """
    differences = np.subtract(first, second)
    if len(differences) < 2 or np.ptp(differences) == 0:
        return Difference(float(differences.mean()), None, None, None, len(differences))
    return _t_test(stats.ttest_rel, first, second, len(differences))


def over_images(
    first: Bool[np.ndarray, "seeds images"], second: Bool[np.ndarray, "other_seeds images"]
) -> Difference:
    """Compares image by image: tests the difference of these networks against the choice of images.

    An image's value is the share of a side's seeds that classify it correctly, so an image counts once whatever
    the number of seeds: their predictions on the same images are not independent. If the sides are equal, the sign
    of an image's difference is random. The p-value is that of a permutation test of the signs, which unlike the
    t-test is exact although most differences are zero. The interval uses the normal distribution of the mean.

    Args:
        first: True where a seed's network classifies an image correctly.
        second: the same for the other side.

    Returns:
        The difference of accuracy in percentage points; `count` is the number of images that the sides differ on.
    """
    differences = 100.0 * (first.mean(0) - second.mean(0))
    mean = float(differences.mean())
    half = float(stats.norm.ppf((1 + CONFIDENCE) / 2) * differences.std(ddof=1) / math.sqrt(len(differences)))
    changed = differences[differences != 0]
    if not len(changed):
        return Difference(0.0, 0.0, 0.0, None, 0)
    test = stats.permutation_test((changed,), np.sum, permutation_type="samples", batch=1_000, rng=0)
    return Difference(mean, mean - half, mean + half, float(test.pvalue), len(changed))


def mcnemar(only_first: int, only_second: int) -> float:
    """Computes the exact two-sided p-value of McNemar's test: the chance of a split of errors at least as uneven.

    Args:
        only_first: number of images that only the first network gets wrong.
        only_second: number of images that only the second network gets wrong.
    """
    disagreements = only_first + only_second
    return float(stats.binomtest(only_first, disagreements).pvalue) if disagreements else 1.0


def _t_test(
    test: Callable[..., Any], first: Sequence[float], second: Sequence[float], count: int
) -> Difference:
    with warnings.catch_warnings():
        # SciPy warns if all values of a side are equal; their variance of 0 is right.
        warnings.filterwarnings("ignore", "Precision loss", RuntimeWarning)
        result = test(first, second)
    interval = result.confidence_interval(CONFIDENCE)
    mean = float(np.mean(first) - np.mean(second))
    return Difference(mean, float(interval.low), float(interval.high), float(result.pvalue), count)
