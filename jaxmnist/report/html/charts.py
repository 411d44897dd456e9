"""Charts as SVG inside a page: their colours are the page's, light or dark, and their text is text.

Matplotlib's pictures have a ground of their own, and text that a phone shrinks.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from jaxmnist.report.html.elements import Html, element

_WIDTH, _HEIGHT = 480, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 12, 44
_LEAST_ERROR = 0.01  # of one image in 10,000: where no image is wrong, there is no logarithm
_MOST_MARKERS = 60
_DECADE = ((1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 5, 7), (1, 2, 5), (1,))


class Series(NamedTuple):
    """A line of a chart: values from `first` on, one per epoch; those that are not finite are gaps."""

    name: str
    style: str
    """Class that gives its colour and dashes."""
    values: Sequence[float]
    first: int = 1


class Scale(NamedTuple):
    """What lies where on an axis."""

    place: Callable[[float], float]
    """From a value to its height: 0 at the bottom, 1 at the top."""
    ticks: list[tuple[float, str]]
    """Values, and what stands beside them."""


def line_chart(title: str, label: str, series: Sequence[Series], scale: Scale, steps: bool = False) -> Html:
    """Lines over the epochs, with a legend where there are several.

    Args:
        title: of the figure.
        label: what is drawn, and how it is scaled.
        series: the lines; at least one of them has a finite value.
        scale: of their values.
        steps: whether a value holds for its whole epoch.
    """
    first = min(line.first for line in series)
    last = max(line.first + len(line.values) - 1 for line in series)
    lines = [_line(line, first, last, scale, steps) for line in series]
    drawing = _axes(scale, first, last, steps) + lines
    summary = "; ".join(_summary(line) for line in series)
    return _figure(title, label, drawing, f"{title} over the epochs. {summary}.", series)


def bar_chart(title: str, label: str, values: Sequence[float]) -> Html:
    """A bar for each epoch; at least one value is finite."""
    scale = linear(values)
    width = (_WIDTH - _LEFT - _RIGHT) / len(values)
    bars = [
        element(
            "rect",
            element("title", f"epoch {epoch}: {value:.1f}"),
            x=_shown(_LEFT + (epoch - 1) * width + 0.1 * width),
            y=_shown(_y(scale, value)),
            width=_shown(0.8 * width),
            height=_shown(_HEIGHT - _BOTTOM - _y(scale, value)),
            class_="bar",
        )
        for epoch, value in enumerate(values, start=1)
        if math.isfinite(value)
    ]
    drawing = _axes(scale, 1, len(values), steps=True) + bars
    low, high = min(values), max(values)
    return _figure(
        title, label, drawing, f"{title}: from {low:.1f} to {high:.1f} over {len(values)} epochs.", ()
    )


def logarithmic(values: Sequence[float]) -> Scale:
    """For positive values, loss and learning rate."""
    low, high = _range(values)
    marks = _log_ticks(low, high)
    return Scale(
        lambda value: _share(math.log(max(value, low / 10)), low, high), [(m, f"{m:g}") for m in marks]
    )


def accuracy(values: Sequence[float]) -> Scale:
    """For percentages, logarithmic in the error: from 99 to 99.5 is as far as from 98 to 99."""
    low, high = _range([max(_LEAST_ERROR, 100 - value) for value in values])
    marks = [(100 - mark, f"{100 - mark:g}") for mark in _log_ticks(low, high)]
    return Scale(lambda value: 1 - _share(math.log(max(_LEAST_ERROR, 100 - value)), low, high), marks)


def linear(values: Sequence[float]) -> Scale:
    """From 0 on."""
    high = max([value for value in values if math.isfinite(value)], default=0) or 1.0
    step = _step(high / 5)
    ticks = [index * step for index in range(int(high / step) + 1)]
    return Scale(lambda value: value / (1.05 * high), [(tick, f"{tick:g}") for tick in ticks])


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Limits of an axis around what is finite and positive, with some room even around one value."""
    usable = [value for value in values if math.isfinite(value) and value > 0] or [1.0]
    low, high = min(usable), max(usable)
    room = 1.12 if high / low > 1.5 else 1.6
    return low / room, high * room


def _share(logarithm: float, low: float, high: float) -> float:
    return (logarithm - math.log(low)) / (math.log(high) - math.log(low))


def _log_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    inside: list[float] = []
    for factors in _DECADE:
        marks = [float(f"{factor}e{decade}") for decade in decades for factor in factors]
        inside = [mark for mark in marks if low <= mark <= high]
        # Labels closer to each other than this would touch.
        gaps = [math.log(b / a) / math.log(high / low) for a, b in itertools.pairwise(inside)]
        if len(inside) <= 8 and all(gap > 0.075 for gap in gaps):
            return inside
    return inside[:: max(1, -(-len(inside) // 8))]


def _step(least: float) -> float:
    """The next of 1, 2, 5, 10, ... from a value on."""
    decade = 10.0 ** math.floor(math.log10(least))
    return next(factor * decade for factor in (1, 2, 5, 10) if factor * decade >= least * (1 - 1e-9))


def _axes(scale: Scale, first: int, last: int, steps: bool) -> list[Html]:
    right, floor = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    drawn = []
    for value, text in scale.ticks:
        y = _shown(_y(scale, value))
        drawn.append(element("line", x1=_LEFT, x2=right, y1=y, y2=y, class_="grid"))
        drawn.append(element("text", text, x=_LEFT - 8, y=y, dy="0.35em", text_anchor="end"))
    step = max(1, round(_step((last - first + 1) / 8)))
    for epoch in range(first, last + 1):
        if epoch % step == 0 or first == last:
            x = _shown(_x(epoch, first, last, steps))
            drawn.append(element("text", str(epoch), x=x, y=floor + 18, text_anchor="middle"))
    middle = (_LEFT + right) / 2
    drawn.append(element("text", "epoch", x=middle, y=_HEIGHT - 6, text_anchor="middle", class_="label"))
    return drawn


def _line(line: Series, first: int, last: int, scale: Scale, steps: bool) -> Html:
    points: list[list[tuple[float, float]]] = [[]]
    marks = []
    half = (_x(2, 1, 2, True) - _x(1, 1, 2, True)) / max(1, last - first + 1) if steps else 0.0
    for epoch, value in enumerate(line.values, start=line.first):
        if not math.isfinite(value):
            points.append([])
            continue
        x, y = _x(epoch, first, last, steps), _y(scale, value)
        points[-1] += [(x - half, y), (x + half, y)] if steps else [(x, y)]
        text = element("title", f"{line.name}, epoch {epoch}: {value:.4g}")
        marks.append(element("circle", text, cx=_shown(x), cy=_shown(y), r=2.6))
    path = " ".join("M" + " L".join(f"{_shown(x)} {_shown(y)}" for x, y in part) for part in points if part)
    shown = marks if len(line.values) <= _MOST_MARKERS else []
    return element("g", element("path", d=path), shown, class_=f"series {line.style}")


def _figure(title: str, label: str, drawing: list[Html], alt: str, series: Sequence[Series]) -> Html:
    svg = element(
        "svg", drawing, viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img", aria_label=alt, class_="chart"
    )
    caption = element("figcaption", element("strong", title), " ", element("span", label, class_="quiet"))
    legend = [
        element(
            "li",
            element(
                "svg",
                element("g", element("path", d="M0 6 L28 6"), class_=f"series {line.style}"),
                viewBox="0 0 28 12",
                class_="key",
                aria_hidden="true",
            ),
            line.name,
        )
        for line in series
    ]
    keys = [element("ul", legend, class_="legend")] if len(series) > 1 else []
    return element("figure", caption, svg, keys, class_="panel")


def _summary(line: Series) -> str:
    last = next((value for value in reversed(line.values) if math.isfinite(value)), math.nan)
    return f"{line.name}: {last:.4g} in epoch {line.first + len(line.values) - 1}"


def _x(epoch: int, first: int, last: int, steps: bool) -> float:
    width = _WIDTH - _LEFT - _RIGHT
    if steps:  # each epoch has a width of its own
        return _LEFT + width * (epoch - first + 0.5) / (last - first + 1)
    return _LEFT + 6 + (width - 12) * ((epoch - first) / (last - first) if last > first else 0.5)


def _y(scale: Scale, value: float) -> float:
    floor = _HEIGHT - _BOTTOM
    return floor - (floor - _TOP) * min(1.0, max(0.0, scale.place(value)))


def _shown(coordinate: float) -> str:
    return f"{coordinate:.1f}".removesuffix(".0")
