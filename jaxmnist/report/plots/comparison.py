"""Plots of a comparison of runs: accuracy over the epochs, and accuracy against parameters."""

import functools
import itertools
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from jaxmnist.report.plots.accuracy_axis import SERIES, errors_of, label_accuracies
from jaxmnist.runs.compare import ComparedRun
from jaxmnist.runs.curves import save_figure

_COLUMNS = 4
_PANEL_HEIGHT = 1.7  # inches
_UNSETTLED = 2  # first epochs, which may lie below the axes: they would take up most of them
_FARTHEST = 3  # times a run's least error; worse epochs, as after a collapse, would squeeze all other runs
_OURS, _PUBLISHED = "tab:blue", "tab:orange"
_MARKERS = "osD^v"  # for more networks than colours


def save_comparison_pictures(folder: Path, compared: Sequence[ComparedRun]) -> list[Path]:
    """Draws `accuracy.png` and `accuracy_against_parameters.png` into a folder, as far as the runs have data.

    Returns:
        The files written. The older file of a plot without data is removed.
    """
    with_curves = [run for run in compared if run.test_accuracies]
    finished = [run for run in compared if run.finished]
    plots: tuple[tuple[str, list[ComparedRun], Callable[[list[ComparedRun]], Figure]], ...] = (
        ("accuracy.png", with_curves, _accuracies),
        ("accuracy_against_parameters.png", finished, _against_parameters),
    )
    files = []
    for name, runs, draw in plots:
        if runs:
            files.append(save_figure(draw(runs), folder / name))
        else:
            (folder / name).unlink(missing_ok=True)
    return files


def _accuracies(compared: list[ComparedRun]) -> Figure:
    panels, mixed = _groups(compared), len({run.dataset for run in compared}) > 1
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    size = max(6.4, 0.8 + 2.7 * columns), 1.2 + (_PANEL_HEIGHT + 0.4) * rows
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes, runs in itertools.zip_longest(grid.flat, panels):
        if runs is None:
            axes.set_axis_off()
        else:
            axes.set_yscale("log")
            _panel(axes, runs, with_dataset=mixed)
    for column in range(columns):
        # The lowest panel of a column has the epochs, even above a gap in the last row.
        lowest = grid[(len(panels) - 1 - column) // columns, column]
        lowest.tick_params(labelbottom=True)
        lowest.set_xlabel("epoch", fontsize=9)
    hidden = _limit(grid[0, 0], compared)
    label_accuracies(grid[0, 0], _PANEL_HEIGHT)
    on = "" if mixed else f" on {compared[0].dataset}"
    note = "\n(epochs far from a run's best may lie below the axes)" if hidden else ""
    figure.suptitle(f"Test accuracy{on} after each epoch{note}", fontsize=12)
    figure.supylabel("test accuracy (%), log scale of the error", fontsize=10)
    handles = [Line2D([], [], color=_OURS, label="these runs, a line per seed")]
    if _any_log(compared):
        handles.append(Line2D([], [], color=_PUBLISHED, linestyle="--", label="published run"))
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    return figure


def _panel(axes: Axes, runs: list[ComparedRun], with_dataset: bool) -> None:
    for run in runs:
        epochs = range(1, len(run.test_accuracies) + 1)
        errors = errors_of(run.test_accuracies)
        axes.plot(epochs, errors, color=_OURS, linewidth=1.3, marker=".", markersize=4)
    source = runs[0].published
    if source is not None and source.correct:
        errors = errors_of(source.test_accuracies)
        axes.plot(source.epochs, errors, color=_PUBLISHED, linewidth=1.3, linestyle="--")
    elif source is not None:
        text = f"no published log; best {source.best_test_accuracy:.2f}"
        axes.annotate(text, (0.5, 0.5), xycoords="axes fraction", ha="center", fontsize=8, color=_PUBLISHED)
    axes.grid(alpha=0.3)
    axes.set_title(f"{runs[0].name}{f', {runs[0].dataset}' if with_dataset else ''}", fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5, steps=[1, 5, 10]))
    axes.tick_params(labelsize=8)


def _limit(axes: Axes, compared: Sequence[ComparedRun]) -> bool:
    """Fits the axes to the curves after their first epochs, near their best; returns True if that hides a point."""
    curves = [(run.test_accuracies, 1) for run in compared]
    curves += [
        (run.published.test_accuracies, run.published.first_epoch) for run in compared if run.published
    ]
    settled = []
    for accuracies, first in curves:
        errors = errors_of(accuracies[max(0, _UNSETTLED + 1 - first) :] or accuracies)
        settled += [error for error in errors if error <= _FARTHEST * min(errors)]
    bottom, top = 1.15 * max(settled), min(settled) / 1.15
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
    if _any_log(compared):
        handles.append(point(label="published run", markerfacecolor="none"))
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    return figure


def _scatter(axes: Axes, groups: list[list[ComparedRun]], inches: float) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    everything: list[float] = []
    means = [statistics.fmean(run.last_five_mean_test_accuracy or 0.0 for run in runs) for runs in groups]
    sizes = [runs[0].parameters or 1 for runs in groups]
    # The legend lists the networks as they lie, the best on top.
    for index in sorted(range(len(groups)), key=lambda index: -means[index]):
        runs, size = groups[index], sizes[index]
        colour, marker = f"C{index % 10}", _MARKERS[index // 10 % len(_MARKERS)]
        draw = functools.partial(axes.plot, color=colour, marker=marker, markersize=6)
        errors = errors_of([run.last_five_mean_test_accuracy or 0.0 for run in runs])
        label = f"{runs[0].name}  {means[index]:.2f}"
        draw([size] * len(runs), errors, linestyle="", label=label)
        theirs = runs[0].published and runs[0].published.last_five_mean
        if theirs is not None:
            (error,) = errors_of([theirs])
            axes.plot([size] * 2, [errors[0], error], color=colour, linewidth=1, linestyle=":")
            draw(size, error, markerfacecolor="none")
            everything.append(error)
        everything += errors
    axes.set_ylim(1.15 * max(everything), min(everything) / 1.15)
    label_accuracies(axes, inches)
    axes.grid(alpha=0.3)
    axes.set_xlim(min(sizes) / 1.2, max(sizes) * 1.2)
    axes.xaxis.set_major_locator(LogLocator(subs=SERIES if max(sizes) < 10 * min(sizes) else (1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0, fontsize=9, frameon=False)


def _any_log(compared: Iterable[ComparedRun]) -> bool:
    return any(run.published and run.published.correct for run in compared)


def _groups(compared: Iterable[ComparedRun]) -> list[list[ComparedRun]]:
    # The runs come sorted, so the seeds of an arch and recipe are neighbours.
    return [list(runs) for _, runs in itertools.groupby(compared, lambda run: (run.dataset, run.name))]
