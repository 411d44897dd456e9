"""The curve of a learning-rate range test: settings, smoothing, and the rate that it suggests."""

import dataclasses
import math
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64, Shaped

from jaxmnist.config import Recipe
from jaxmnist.errors import UsageError

_NEAR_END = 30  # the part of the points, at either end, in which the steepest fall is not trusted
_FEWEST_POINTS = 3  # with fewer, no point has a neighbour on either side
_FAR = 5.0  # times the recipe's rate, or its share; the suggestions that trained well lay within 4
_AS_STEEP, _BROAD = (
    0.8,
    10.0,
)  # a fall about as steep over rates of a whole decade has no clear steepest point


@dataclasses.dataclass(frozen=True)
class RangeTest:
    """Settings of a range test; the defaults are those that the source of `dilated` published."""

    start: float = 0.1
    """Learning rate of the first step."""
    end: float = 2.0
    """Learning rate of the last step; the rates form a geometric sequence."""
    steps: int = 1500
    """Number of steps, unless the loss diverges before."""
    smoothing: float = 0.05
    """Weight of a step's loss in the smoothed loss; the rest is the weight of the previous smoothed loss."""
    divergence: float = 5.0
    """The test ends when the smoothed loss is more than this many times its lowest value."""
    skip_first: int = 10
    """Points ignored at the start, when the network is still settling."""
    skip_last: int = 5
    """Points ignored at the end, when the loss may be exploding."""
    optimizer: Literal["published", "recipe"] = "published"
    """SGD with Nesterov momentum 0.9 and the plain loss, as published; or the recipe's own optimizer and objective."""
    window: float | None = None
    """Standard deviation, in decades of the rate, of the Gaussian that smooths the losses in place of `smoothing`. It
    does not lag behind: a mean of earlier losses moves the steepest fall to rates three times as high."""
    divisor: float = 1.0
    """Divisor of the rate of the steepest fall. The fastest rate for the first steps is too high for whole epochs."""
    least_fall: float = 0.0
    """Share of its start by which the smoothed loss must fall; below it there is no slope to go by."""

    def __post_init__(self) -> None:
        # The largest float32 is 3.4e38.
        above_start = f"a learning rate above the start, {self.start:g}, and at most 1e38"
        checks = {
            "start": (0 < self.start < math.inf, "a learning rate above 0"),
            "end": (self.start < self.end <= 1e38, above_start),
            "steps": (self.steps >= 2, "at least 2"),
            "smoothing": (0 < self.smoothing <= 1, "above 0 and at most 1"),
            "divergence": (self.divergence > 1, "above 1"),
            "skip_first": (self.skip_first >= 0, "at least 0"),
            "skip_last": (self.skip_last >= 0, "at least 0"),
            "window": (self.window is None or self.window > 0, "above 0"),
            "divisor": (self.divisor >= 1, "at least 1"),
            "least_fall": (0 <= self.least_fall < 1, "at least 0 and below 1"),
        }
        for field, (holds, wanted) in checks.items():
            if not holds:
                value = getattr(self, field)
                raise UsageError(f"the range test has {field}={value!r}, which must be {wanted}.")

    @property
    def rates(self) -> Float64[np.ndarray, " steps"]:
        """Learning rate of every step: start (end / start)^(t / (steps - 1)) in step t, from 0 on."""
        return self.start * (self.end / self.start) ** (np.arange(self.steps) / (self.steps - 1))


PUBLISHED = RangeTest()
"""Settings of the source of `dilated`."""

FROM_NOTHING_ON = RangeTest(
    start=1e-6, end=10.0, steps=350, optimizer="recipe", window=0.25, divisor=2.0, least_fall=0.2
)
"""Settings for every other recipe: from a rate at which nothing is learnt to one at which nothing can be."""


def range_test_of(recipe: Recipe, **changes: float | int | None) -> RangeTest:
    """Returns the settings of a range test for a recipe.

    Args:
        recipe: the recipe.
        **changes: fields to change, also those of the recipe's `rate_range`; None for a field that stays.

    Raises:
        UsageError: a value is out of range.
    """
    settings = PUBLISHED if recipe.name.removesuffix("-modified") == "dilated" else FROM_NOTHING_ON
    own = {} if recipe.rate_range is None else dataclasses.asdict(recipe.rate_range)
    changed = [*own.items(), *changes.items()]
    given: dict[str, Any] = {name: value for name, value in changed if value is not None}
    return dataclasses.replace(settings, **given)


@dataclasses.dataclass(frozen=True, eq=False)
class RangeResult:
    """Result of a range test. Arrays have one finite number per step taken; steps count from 0."""

    settings: RangeTest
    rates: Float64[np.ndarray, " taken"]
    losses: Float64[np.ndarray, " taken"]
    """Mean negative log-likelihood of each step's batch, before its update."""
    smoothed: Float64[np.ndarray, " taken"]
    step: int | None
    """Step of the steepest fall of the smoothed loss; None without a suggestion."""
    diverged: bool
    """True if the loss diverged or was not finite, which ended the test."""
    reason: str | None
    """Reason for no suggestion, as a phrase."""

    @property
    def suggestion(self) -> float | None:
        """Learning rate of `step`, divided by the test's divisor."""
        return None if self.step is None else float(self.rates[self.step]) / self.settings.divisor

    @property
    def kept(self) -> slice:
        """Points considered: all but the first `skip_first` and the last `skip_last`."""
        first = min(self.settings.skip_first, len(self.losses))
        return slice(first, max(first, len(self.losses) - self.settings.skip_last))


def analyse(losses: Shaped[np.ndarray, " taken"], settings: RangeTest) -> RangeResult:
    """Smooths the losses of the first steps, and looks for the steepest fall.

    A finite loss that shows divergence is the last point; one that is not finite is left out. The slope is the
    central difference per step of the smoothed loss, as by `numpy.gradient`. Nothing is suggested near an end of the
    points, where the fall may only begin or have begun before.
    """
    smoothed, diverged = _smooth(losses, settings)
    taken = len(smoothed)
    rates, losses = settings.rates[:taken], losses[:taken].astype(np.float64)
    if settings.window is not None and taken:
        smoothed = _smooth_both_ways(losses, settings)
    result = RangeResult(settings, rates, losses, smoothed, None, diverged, None)
    points = smoothed[result.kept]
    if len(points) < _FEWEST_POINTS:
        ended = f"the loss diverged after {taken} steps" if diverged else f"there are {taken} steps"
        dropped = f"the first {settings.skip_first} and the last {settings.skip_last}"
        return dataclasses.replace(result, reason=f"{ended}, too few for a slope without {dropped}")
    slopes = np.gradient(points)
    steepest = int(slopes.argmin())
    if not slopes[steepest] < 0:
        return dataclasses.replace(result, reason="the smoothed loss never falls")
    start = points[: points.argmin() + 1].max()
    if (fall := 1 - points.min() / start) < settings.least_fall:
        reason = f"the loss falls by {fall:.0%} only, which shows no rate at which the network learns"
        return dataclasses.replace(result, reason=reason)
    margin = len(points) // _NEAR_END
    if not margin <= steepest < len(points) - margin:
        end = "start" if steepest < margin else "end"
        rate = rates[result.kept][steepest]
        reason = f"the loss falls most steeply at {rate:.4g}, near the {end} of the tested rates"
        return dataclasses.replace(result, reason=reason)
    return dataclasses.replace(result, step=settings.skip_first + steepest)


def doubt(result: RangeResult, learning_rate: float) -> str | None:
    """Describes, as a sentence without its end, a reason not to trust a suggestion; None if there is none.

    Args:
        result: the test; without a suggestion there is nothing to doubt.
        learning_rate: that of the recipe, which was chosen for whole trainings.
    """
    suggestion, settings = result.suggestion, result.settings
    if suggestion is None:
        return None
    times = max(suggestion, learning_rate) / min(suggestion, learning_rate)
    if times > _FAR:
        side = "above" if suggestion > learning_rate else "below"
        lies = f"lies {times:.0f} times {side} the recipe's {learning_rate:g}"
        return f"the suggested learning rate {suggestion:.4g} {lies}"
    slopes = np.gradient(result.smoothed[result.kept])
    steep = result.rates[result.kept][slopes <= _AS_STEEP * slopes.min()]
    if settings.window is not None and steep[-1] > _BROAD * steep[0]:
        return f"the loss falls about as steeply at all rates from {steep[0]:.4g} to {steep[-1]:.4g}"
    return None


def _smooth(
    losses: Shaped[np.ndarray, " taken"], settings: RangeTest
) -> tuple[Float64[np.ndarray, " points"], bool]:
    """Returns the smoothed losses up to the end of the test, and True if it ends because they diverge."""
    smoothed: list[float] = []
    lowest = math.inf
    for loss in losses.tolist():
        if not math.isfinite(loss):
            return np.array(smoothed, np.float64), True
        share = settings.smoothing if smoothed else 1.0
        smoothed.append(share * loss + (1 - share) * (smoothed[-1] if smoothed else 0.0))
        lowest = min(lowest, smoothed[-1])
        if smoothed[-1] > settings.divergence * lowest:
            return np.array(smoothed, np.float64), True
    return np.array(smoothed, np.float64), False


def _smooth_both_ways(
    losses: Float64[np.ndarray, " taken"], settings: RangeTest
) -> Float64[np.ndarray, " taken"]:
    from scipy.ndimage import gaussian_filter1d

    assert settings.window is not None
    decades = math.log10(settings.end / settings.start)
    # An explosion at the end would raise the losses before it.
    cut = np.minimum(losses, 2 * losses[: settings.skip_first + 1].max())
    return gaussian_filter1d(cut, settings.window * settings.steps / decades, mode="nearest")
