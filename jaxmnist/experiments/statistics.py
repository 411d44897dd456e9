"""Statistics of a training repeated over seeds, and of the difference between two of them.

A seed is one draw from what a recipe gives, so intervals of a mean are Student's t over seeds: they say where the
mean of all seeds may lie, judged on the same images. How far another set of images would move it is another
question, which the images answer, see `over_images`.
"""

import dataclasses
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool
from scipy import stats

CONFIDENCE = 0.95

_RESAMPLES = 9_999
_AT_ONCE = 909  # an eleventh


@dataclasses.dataclass(frozen=True)
class Summary:
    """Of one figure over seeds. What needs two seeds is None with one."""

    count: int
    mean: float
    standard_deviation: float | None
    """Of the seeds, with n - 1."""
    low: float | None
    """Lower end of the 95 % confidence interval of the mean, Student's t with n - 1 degrees of freedom."""
    high: float | None
    """Upper end."""
    minimum: float
    maximum: float


@dataclasses.dataclass(frozen=True)
class Difference:
    """Of two means, the first minus the second, with its 95 % confidence interval and two-sided p-value."""

    mean: float
    low: float | None
    high: float | None
    p_value: float | None
    """None where all values are equal, or one side has but one: nothing can be tested then."""
    count: int
    """Values compared: of both sides together, or pairs."""


def summarise(values: Sequence[float]) -> Summary:
    """Mean, spread and interval of at least one value."""
    array = np.asarray(values, np.float64)
    mean, spread = float(array.mean()), float(array.std(ddof=1)) if len(array) > 1 else None
    half = None
    if spread is not None:
        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(array) - 1)) * spread / math.sqrt(len(array))
    return Summary(
        count=len(array),
        mean=mean,
        standard_deviation=spread,
        low=None if half is None else mean - half,
        high=None if half is None else mean + half,
        minimum=float(array.min()),
        maximum=float(array.max()),
    )


def share_settled(curves: Sequence[Sequence[float]], threshold: float, last: int = 5) -> float:
    """Share of the curves whose last epochs, five or fewer where there are fewer, all reach a threshold."""
    return float(np.mean([min(curve[-last:]) >= threshold for curve in curves]))


def between_seeds(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Welch's t-test: seeds of one side and of the other are independent, and may scatter differently.

    The question: is the mean over all seeds another one, on these images?
    """
    mean, count = float(np.mean(first) - np.mean(second)), len(first) + len(second)
    if min(len(first), len(second)) < 2 or (np.ptp(first) == 0 and np.ptp(second) == 0):
        return Difference(mean, None, None, None, count)
    with warnings.catch_warnings():
        # SciPy doubts a side whose seeds all have the same accuracy; its variance is 0, which is what it is.
        warnings.filterwarnings("ignore", "Precision loss", RuntimeWarning)
        result: Any = stats.ttest_ind(first, second, equal_var=False)
    interval = result.confidence_interval(CONFIDENCE)
    return Difference(mean, float(interval.low), float(interval.high), float(result.pvalue), count)


def by_seed(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Paired t-test of values of the same seeds, in the same order.

    A seed has the same order of images and the same random changes in both, and where the networks are the same
    the same initial weights; as far as that makes results alike, this sees smaller differences than Welch's.
    """
    differences = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    mean, count = float(differences.mean()), len(differences)
    if count < 2 or np.ptp(differences) == 0:
        return Difference(mean, None, None, None, count)
    # Which is what it is of the differences.
    result: Any = stats.ttest_1samp(differences, 0.0)
    interval = result.confidence_interval(CONFIDENCE)
    return Difference(mean, float(interval.low), float(interval.high), float(result.pvalue), count)


def over_images(
    first: Bool[np.ndarray, "seeds images"], second: Bool[np.ndarray, "other_seeds images"]
) -> Difference:
    """Paired by image: what the trained networks at hand differ by, tested against the choice of images.

    An image's value is the share of a side's seeds that get it right, so that it counts once however many seeds
    there are: seeds see the same images, and to count their predictions as independent would overstate them.
    Were the sides equal, every image's difference would be as likely with the other sign; the p-value is the
    share of random signs with a sum at least as large (a permutation test, exact for any distribution, which the
    t-test is not with most differences zero). The interval is the mean's, by the normal distribution.

    Args:
        first, second: whether each seed's network gets each image right.

    Returns:
        The difference of accuracy in percentage points; `count` is the images that the sides differ on.
    """
    differences = 100.0 * (first.mean(0) - second.mean(0))
    mean = float(differences.mean())
    half = float(stats.norm.ppf((1 + CONFIDENCE) / 2) * differences.std(ddof=1) / math.sqrt(len(differences)))
    changed = differences[differences != 0]
    if not len(changed):
        return Difference(0.0, 0.0, 0.0, None, 0)
    random, as_large = np.random.default_rng(0), 0
    for _ in range(_RESAMPLES // _AT_ONCE):
        signs = 2.0 * random.integers(0, 2, (_AT_ONCE, len(changed))) - 1
        # Sums that are equal but for rounding count as equal.
        as_large += int((np.abs(signs @ changed) >= abs(changed.sum()) - 1e-6).sum())
    p_value = (1 + as_large) / (1 + _RESAMPLES)
    return Difference(mean, mean - half, mean + half, p_value, len(changed))


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p-value of McNemar's test: of a split of the errors at least as uneven, were it chance.

    Args:
        only_first: images that the first network alone gets wrong.
        only_second: images that the second one alone gets wrong.
    """
    disagreements = only_first + only_second
    return float(stats.binomtest(only_first, disagreements).pvalue) if disagreements else 1.0
