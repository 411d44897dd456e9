"""An axis logarithmic in the error and labelled with accuracies: from 99 to 99.5 is as far as from 98 to 99."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

SERIES = (1.0, 2.0, 3.0, 5.0, 7.0)
"""Ticks of a decade."""

_LEAST_ERROR = 0.01  # one image in 10,000: an error of 0 has no logarithm


def errors_of(accuracies: Sequence[float]) -> list[float]:
    """Returns the positions of accuracies in percent on such an axis."""
    return [max(_LEAST_ERROR, 100.0 - accuracy) for accuracy in accuracies]


def label_accuracies(axes: Axes, inches: float) -> None:
    """Labels the y axis, logarithmic in the error and about `inches` high, with accuracies."""
    bottom, top = axes.get_ylim()
    # 0.9 and 1.0 are the closest neighbours; a label is about an eighth of an inch high.
    dense = inches * math.log(1 / 0.9) / math.log(bottom / top) > 1 / 8
    axes.yaxis.set_major_locator(LogLocator(subs=range(1, 10) if dense else SERIES))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda error, _: f"{100 - error:g}"))
