"""Charts over the epochs: coordinates that the template `parts.html` draws as SVG.

Unlike Matplotlib's pictures they take the page's colours, light or dark, and keep their text legible on a phone.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from matplotlib.ticker import MaxNLocator

from jaxmnist.report.facts import RunFacts
from jaxmnist.report.plots.accuracy_axis import errors_of
from jaxmnist.runs.curves import CURVES

LEFT, RIGHT, TOP, BOTTOM = 58, 468, 12, 256
"""Edges of the axes in a chart of 480 x 300, as in the template."""
STYLES = 8
"""Number of line styles for runs, `s0`, `s1`, ... in `page.css`."""

_MOST_MARKERS = 60
_DECADES = ((1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 5, 7), (1, 2, 5), (1,))


class Line(NamedTuple):
    """Values of a chart from epoch `first` on; those that are not finite are gaps."""

    name: str
    style: str
    """Class of its colour and dashes in `page.css`."""
    values: Sequence[float]
    first: int = 1

    @property
    def finite(self) -> list[tuple[int, float]]:
        """The epochs with a finite value, and that value."""
        return [(epoch, value) for epoch, value in enumerate(self.values, self.first) if math.isfinite(value)]


class Drawn(NamedTuple):
    """A line in the coordinates of its chart."""

    name: str
    style: str
    path: str
    points: list[tuple[float, float, str]]
    """Markers, or the tops of bars: x, y and the text that a pointer shows."""


class Chart(NamedTuple):
    """Everything the template needs to draw a chart."""

    title: str
    label: str
    """Quantity and scale of the y axis."""
    description: str
    """Text for readers who cannot see the chart."""
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    lines: list[Drawn]
    bar_width: float | None
    """Width of the bars of a bar chart."""


class Scale(NamedTuple):
    """Places of values on the y axis."""

    place: Callable[[float], float]
    """Maps a value to its height, from 0 at the bottom to 1 at the top."""
    ticks: list[float]


def run_charts(run: RunFacts) -> list[Chart]:
    """Draws accuracy, loss, learning rate and time of a run."""
    if not run.rows:
        return []
    shares = [Line(name, prefix, run.column(f"{prefix}_accuracy")) for prefix, name in CURVES.items()]
    losses = [Line(name, prefix, run.column(f"{prefix}_loss")) for prefix, name in CURVES.items()]
    if (source := run.figures.published) is not None:
        shares.append(Line("test, published run", "published", source.test_accuracies, source.first_epoch))
    seconds = [Line("seconds", "bars", run.column("seconds"))]
    charts = (
        draw("Accuracy", "percent, log scale of the error", shares, accuracy),
        draw("Loss", "mean negative log-likelihood, log scale", losses, logarithmic),
        _rates([run], [Line("learning rate", "rate", run.column("learning_rate"))]),
        draw("Time", "seconds of each epoch, including its evaluation", seconds, linear, "bars"),
    )
    return [chart for chart in charts if chart is not None]


def comparison_charts(found: Sequence[RunFacts], names: Sequence[str]) -> list[Chart]:
    """Draws test accuracy, losses and learning rate of several runs."""

    def lines(key: str) -> list[Line]:
        return [
            Line(name, f"s{number % STYLES}", run.column(key))
            for number, (run, name) in enumerate(zip(found, names, strict=True))
        ]

    charts = (
        draw("Test accuracy", "percent, log scale of the error", lines("test_accuracy"), accuracy),
        draw("Test loss", "mean negative log-likelihood, log scale", lines("test_loss"), logarithmic),
        draw("Training loss", "on augmented images, log scale", lines("train_loss"), logarithmic),
        _rates(found, lines("learning_rate")),
    )
    return [chart for chart in charts if chart is not None]


def draw(
    title: str,
    label: str,
    lines: Sequence[Line],
    scale: Callable[[list[float]], Scale],
    kind: Literal["line", "steps", "bars"] = "line",
) -> Chart | None:
    """Draws lines over the epochs; returns None if no value is finite.

    Args:
        title: title of the chart.
        label: quantity and scale of the y axis.
        lines: the lines; those without a finite value are left out.
        scale: makes the y axis for some values.
        kind: lines from point to point, steps as wide as an epoch, or bars.
    """
    lines = [line for line in lines if line.finite]
    if not lines:
        return None
    epochs, values = zip(*(point for line in lines for point in line.finite), strict=True)
    first, last = min(epochs), max(epochs)
    axis, slot = scale(list(values)), (RIGHT - LEFT) / (last - first + 1)

    def x(epoch: float | int) -> float:
        return round(LEFT + slot * (epoch - first + 0.5), 1)

    def y(value: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * axis.place(value), 1)

    drawn = []
    for line in lines:
        path, previous = "", None
        for epoch, value in line.finite:
            ends = (epoch - 0.5, epoch + 0.5) if kind == "steps" else (epoch,)
            path += "L" if previous == epoch - 1 else "M"
            path += "L".join(f"{x(end)} {y(value)}" for end in ends)
            previous = epoch
        texts = [f"{line.name}, epoch {epoch}: {value:.4g}" for epoch, value in line.finite]
        points = [(x(epoch), y(value), text) for (epoch, value), text in zip(line.finite, texts, strict=True)]
        shown = points if kind == "bars" or len(points) <= _MOST_MARKERS else []
        drawn.append(Drawn(line.name, line.style, path, shown))
    last_values = [f"{line.name}: {line.finite[-1][1]:.4g} in epoch {line.finite[-1][0]}" for line in lines]
    marks = MaxNLocator(8, integer=True).tick_values(first, last)
    return Chart(
        title=title,
        label=label,
        description=f"{title} over the epochs. {'; '.join(last_values)}.",
        x_ticks=[(x(mark), f"{mark:.0f}") for mark in marks if first <= mark <= last],
        y_ticks=[(y(tick), f"{tick:g}") for tick in axis.ticks],
        lines=drawn,
        bar_width=round(0.8 * slot, 1) if kind == "bars" else None,
    )


def logarithmic(values: list[float]) -> Scale:
    """Makes a logarithmic axis, for loss and learning rate."""
    low, high = _range(values)
    return Scale(lambda value: _place(value, low, high), _ticks(low, high))


def accuracy(values: list[float]) -> Scale:
    """Makes an axis logarithmic in the error, for percentages: from 99 to 99.5 is as far as from 98 to 99."""
    low, high = _range(errors_of(values))
    ticks = [100 - error for error in _ticks(low, high)]
    return Scale(lambda value: 1 - _place(errors_of([value])[0], low, high), ticks)


def linear(values: list[float]) -> Scale:
    """Makes a linear axis from 0 on."""
    high = 1.05 * max(values) or 1.0
    ticks = [tick for tick in MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(0, high) if tick <= high]
    return Scale(lambda value: value / high, ticks)


def _rates(found: Sequence[RunFacts], lines: list[Line]) -> Chart | None:
    # A rate holds for its whole epoch, unless a schedule changes it at every step.
    if any(run.config is not None and run.config.recipe.schedule is not None for run in found):
        return draw("Learning rate", "at the end of each epoch, log scale", lines, logarithmic)
    return draw("Learning rate", "log scale", lines, logarithmic, "steps")


def _range(values: list[float]) -> tuple[float, float]:
    """Limits of a logarithmic axis, with some room even around a single value."""
    positive = [value for value in values if value > 0] or [1.0]
    low, high = min(positive), max(positive)
    room = 1.12 if high / low > 1.5 else 1.6
    return low / room, high * room


def _place(value: float, low: float, high: float) -> float:
    return math.log(max(value, low) / low) / math.log(high / low)


def _ticks(low: float, high: float) -> list[float]:
    """Round values between two limits, as many as have room for their labels."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    inside: list[float] = []
    for factors in _DECADES:
        marks = [float(f"{factor}e{decade}") for decade in decades for factor in factors]
        inside = [mark for mark in marks if low <= mark <= high]
        gaps = [math.log(b / a) / math.log(high / low) for a, b in itertools.pairwise(inside)]
        if len(inside) <= 8 and all(gap > 0.075 for gap in gaps):
            return inside
    return inside[:: -(-len(inside) // 8)]
