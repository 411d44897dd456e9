"""Pictures of a comparison: accuracy over the epochs, accuracy against parameters.

Accuracies differ where they are near 100, so axes are logarithmic in the error, with accuracies written on them:
from 99 to 99.5 is as far as from 98 to 99.
"""

import functools
import itertools
import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from jaxmnist.report.plots.accuracy_axis import SERIES, errors_of, label_accuracies
from jaxmnist.runs.compare import ComparedRun
from jaxmnist.runs.curves import save_figure

_COLUMNS = 4
_PANEL_HEIGHT = 1.7  # of the axes of one network's curves, in inches
_LABEL_HEIGHT = 0.2  # of one line of text, in inches
_UNSETTLED = 2  # first epochs that need not be seen whole: they would take most of the axes
_OURS, _PUBLISHED = "tab:blue", "tab:orange"


def save_comparison_pictures(folder: Path, compared: Sequence[ComparedRun]) -> list[Path]:
    """Draws `accuracy.png` and `accuracy_against_parameters.png` into a folder, where runs have what they show.

    Returns:
        The files written. An older picture that there is nothing to draw for now is removed.
    """
    with_curves = [run for run in compared if run.test_accuracies]
    finished = [run for run in compared if run.finished]
    files = []
    for name, runs, draw in (
        ("accuracy.png", with_curves, _accuracies),
        ("accuracy_against_parameters.png", finished, _against_parameters),
    ):
        if runs:
            files.append(save_figure(draw(runs), folder / name))
        else:
            (folder / name).unlink(missing_ok=True)
    return files


def _accuracies(compared: list[ComparedRun]) -> Figure:
    panels, mixed = _groups(compared), len({run.dataset for run in compared}) > 1
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(
        figsize=(max(6.4, 0.8 + 2.7 * columns), 1.2 + (_PANEL_HEIGHT + 0.4) * rows), layout="constrained"
    )
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes, runs in itertools.zip_longest(grid.flat, panels):
        if runs is None:
            axes.set_axis_off()
        else:
            axes.set_yscale("log")
            _panel(axes, runs, with_dataset=mixed)
    for column in range(columns):
        # The lowest panel of a column has the epochs, in the last row or above a gap in it.
        lowest = (len(panels) - 1 - column) // columns
        grid[lowest, column].tick_params(labelbottom=True)
        grid[lowest, column].set_xlabel("epoch", fontsize=9)
    hidden = f"\n(the first {_UNSETTLED} may lie below the axes)" if _limit(grid[0, 0], compared) else ""
    label_accuracies(grid[0, 0], _PANEL_HEIGHT)
    figure.suptitle(
        f"Test accuracy{'' if mixed else f' on {compared[0].dataset}'} after each epoch{hidden}", fontsize=12
    )
    figure.supylabel("test accuracy (%), log scale of the error", fontsize=10)
    handles = [Line2D([], [], color=_OURS, label="these runs, a line per seed")]
    if any(run.published and run.published.correct for run in compared):
        handles.append(Line2D([], [], color=_PUBLISHED, linestyle="--", label="published run"))
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    return figure


def _panel(axes: Any, runs: list[ComparedRun], with_dataset: bool) -> None:
    for run in runs:
        epochs = range(1, len(run.test_accuracies) + 1)
        axes.plot(
            epochs, errors_of(run.test_accuracies), color=_OURS, linewidth=1.3, marker=".", markersize=4
        )
    source = runs[0].published
    if source is not None and source.correct:
        errors = errors_of(source.test_accuracies)
        axes.plot(source.epochs, errors, color=_PUBLISHED, linewidth=1.3, linestyle="--")
    axes.grid(alpha=0.3)
    axes.set_title(f"{runs[0].name}{f', {runs[0].dataset}' if with_dataset else ''}", fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5, steps=[1, 5, 10]))
    axes.tick_params(labelsize=8)
    if source is not None and not source.correct:
        text = f"no published log; best {source.best_test_accuracy:.2f}"
        axes.annotate(text, (0.5, 0.5), xycoords="axes fraction", ha="center", fontsize=8, color=_PUBLISHED)


def _limit(axes: Any, compared: Sequence[ComparedRun]) -> bool:
    """Fits the axes to the curves but for their first epochs; whether some of those lie outside."""
    curves = [(run.test_accuracies, 1) for run in compared]
    curves += [
        (run.published.test_accuracies, run.published.first_epoch) for run in compared if run.published
    ]
    settled = [
        errors_of(accuracies[max(0, _UNSETTLED + 1 - first) :] or accuracies) for accuracies, first in curves
    ]
    errors = [error for curve in settled for error in curve]
    bottom, top = 1.15 * max(errors), min(errors) / 1.15
    axes.set_ylim(bottom, top)
    return any(error > bottom for accuracies, _ in curves for error in errors_of(accuracies))


def _against_parameters(compared: list[ComparedRun]) -> Figure:
    datasets = [list(runs) for _, runs in itertools.groupby(compared, lambda run: run.dataset)]
    heights = [max(2.8, 1.0 + 0.28 * len(_groups(runs))) for runs in datasets]
    figure = Figure(figsize=(9.5, 1.2 + sum(heights)), layout="constrained")
    grid = figure.subplots(len(datasets), 1, squeeze=False, height_ratios=heights)
    for axes, runs, height in zip(grid.flat, datasets, heights, strict=True):
        _scatter(axes, _groups(runs), height)
        axes.set_ylabel(f"test accuracy (%) on {runs[0].dataset}\nlog scale of the error")
    figure.align_ylabels()
    grid[-1, 0].set_xlabel("parameters (log scale)")
    figure.suptitle("Test accuracy, mean of the last five epochs, against parameters", fontsize=12)
    point = functools.partial(Line2D, [], [], color="black", linestyle="", marker="o")
    handles = [point(label="these runs, a point per seed")]
    if any(run.published and run.published.correct for run in compared):
        handles.append(point(label="published run", markerfacecolor="none"))
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    return figure


def _scatter(axes: Any, groups: list[list[ComparedRun]], inches: float) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    labels: list[tuple[float, int, str, str]] = []
    everything: list[float] = []
    for index, runs in enumerate(groups):
        colour = f"C{index % 10}"
        parameters = runs[0].parameters or 1
        means = [run.last_five_mean_test_accuracy or 0.0 for run in runs]
        errors = errors_of(means)
        axes.plot([parameters] * len(runs), errors, "o", color=colour, markersize=6)
        theirs = runs[0].published and runs[0].published.last_five_mean
        if theirs is not None:
            (error,) = errors_of([theirs])
            axes.plot([parameters] * 2, [errors[0], error], color=colour, linewidth=1, linestyle=":")
            axes.plot(parameters, error, "o", color=colour, markerfacecolor="none", markersize=6)
            everything.append(error)
        everything += errors
        (middle,) = errors_of([statistics.fmean(means)])
        labels.append((middle, parameters, f"{runs[0].name}  {statistics.fmean(means):.2f}", colour))
    axes.set_ylim(1.15 * max(everything), min(everything) / 1.15)
    label_accuracies(axes, inches)
    axes.grid(alpha=0.3)
    sizes = [parameters for _, parameters, _, _ in labels]
    axes.set_xlim(min(sizes) / 1.2, max(sizes) * 1.2)
    axes.xaxis.set_major_locator(LogLocator(subs=SERIES if max(sizes) < 10 * min(sizes) else (1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    _name_points(axes, sorted(labels), inches)


def _name_points(axes: Any, labels: list[tuple[float, int, str, str]], inches: float) -> None:
    """Writes names beside the axes, joined to the points: most networks are too alike for names among them.

    Args:
        axes: both of its scales are logarithmic and their limits set.
        labels: error, parameters, text and colour, the smallest error first.
        inches: height of the axes.
    """
    bottom, top = axes.get_ylim()
    heights = [math.log(bottom / error) / math.log(bottom / top) for error, *_ in labels]
    heights = _spread(heights, _LABEL_HEIGHT / inches)
    for (error, parameters, text, colour), height in zip(labels, heights, strict=True):
        line = {"arrowstyle": "-", "color": colour, "linewidth": 0.6, "alpha": 0.6, "relpos": (0, 0.5)}
        axes.annotate(
            text,
            (parameters, error),
            xytext=(1.02, height),
            textcoords="axes fraction",
            va="center",
            fontsize=9,
            color=colour,
            arrowprops=line,
        )


def _spread(heights: list[float], gap: float) -> list[float]:
    """Moves falling heights within [0, 1] apart as far as labels need, or evenly where they are too many."""
    gap = min(gap, 1 / max(1, len(heights) - 1))
    spread: list[float] = []
    for height in heights:
        spread.append(min(height, spread[-1] - gap) if spread else height)
    floor = 0.0
    for index in reversed(range(len(spread))):
        spread[index] = max(spread[index], floor)
        floor = spread[index] + gap
    return spread


def _groups(compared: Iterable[ComparedRun]) -> list[list[ComparedRun]]:
    # The runs come sorted: seeds of one network by one recipe lie next to each other.
    return [list(runs) for _, runs in itertools.groupby(compared, lambda run: (run.dataset, run.name))]
