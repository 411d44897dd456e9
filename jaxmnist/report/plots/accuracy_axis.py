"""An axis that is logarithmic in the error and labelled with accuracies: from 99 to 99.5 is as far as from 98 to 99."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

SERIES = (1.0, 2.0, 3.0, 5.0, 7.0)
"""Ticks of a decade."""

_LEAST_ERROR = 0.01  # of one image in 10,000: where no image is wrong, there is no logarithm


def errors_of(accuracies: Sequence[float]) -> list[float]:
    """What lies on the axis for accuracies in percent."""
    return [max(_LEAST_ERROR, 100.0 - accuracy) for accuracy in accuracies]


def label_accuracies(axes: Any, inches: float) -> None:
    """Accuracies as the labels of an axis that is logarithmic in the error and has about that height."""
    bottom, top = axes.get_ylim()
    # 0.9 and 1.0 are the closest neighbours; a label is about an eighth of an inch high.
    dense = inches * math.log(1 / 0.9) / math.log(bottom / top) > 1 / 8
    axes.yaxis.set_major_locator(LogLocator(subs=range(1, 10) if dense else SERIES))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda error, _: f"{100 - error:g}"))
