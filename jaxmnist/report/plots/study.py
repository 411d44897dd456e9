"""Plots of a study: the distribution of its seeds, their curves, and studies side by side."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jaxmnist.models import arch_title
from jaxmnist.report.plots.accuracy_axis import errors_of, label_accuracies
from jaxmnist.runs.curves import PLOTS, save_figure

_HEIGHT = 3.6  # of the curves' axes, in inches
_UNSETTLED = 2  # first epochs, which may lie below the axes: they would take up most of them


def save_study_pictures(
    folder: Path, figures: Mapping[str, Any], curves: Sequence[Sequence[float]]
) -> list[Path]:
    """Draws `distribution.png` and `curves.png` into the study's `plots/`.

    Args:
        folder: the study's folder.
        figures: contents of its `summary.json`.
        curves: accuracies of each seed after each epoch, in percent.

    Returns:
        The files written.
    """
    plots = folder / PLOTS
    plots.mkdir(exist_ok=True)
    last = [curve[-1] for curve in curves]
    return [
        save_figure(_distribution(figures, last), plots / "distribution.png"),
        save_figure(_curves(figures, np.array(curves)), plots / "curves.png"),
    ]


def save_comparison(folder: Path, compared: Mapping[str, Any]) -> Path:
    """Draws `comparison.png` into a folder: the mean of each study with its interval, and each seed.

    Args:
        folder: the folder, created if it is missing.
        compared: result of `jaxmnist.experiments.study.compare.compare_studies`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    studies = compared["studies"]
    figure = Figure(figsize=(8, 1.2 + 0.32 * len(studies)), layout="constrained")
    axes = figure.subplots()
    for row, study in enumerate(studies):
        last = study["last_epoch"]
        half = last["high"] - last["mean"] if _says_something(last) else 0
        axes.plot(study["accuracies"], [row] * len(study["accuracies"]), ".", color="tab:grey", alpha=0.6)
        axes.errorbar(last["mean"], row, xerr=half, fmt="o", color="tab:blue", capsize=3)
    axes.axvline(studies[0]["last_epoch"]["mean"], color="tab:orange", linewidth=1)
    axes.set_yticks(range(len(studies)), [Path(study["study"]).name for study in studies])
    axes.set_ylim(len(studies) - 0.5, -0.5)
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.set_xlabel(f"{compared['split']} accuracy of the last epoch (%): seeds, mean and its 95 % interval")
    axes.grid(axis="x", alpha=0.3)
    return save_figure(figure, folder / "comparison.png")


def _says_something(last: Mapping[str, Any]) -> bool:
    """True if there is an interval and it excludes some accuracies; that of two seeds can be wider than the axis."""
    return last["low"] is not None and (last["low"] >= 0 or last["high"] <= 100)


def _distribution(figures: Mapping[str, Any], values: Sequence[float]) -> Figure:
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    # Seeds with equal numbers of correct images are stacked.
    stacks: Counter[float] = Counter()
    for value in values:
        stacks[round(value, 4)] += 1
        axes.plot(value, stacks[round(value, 4)], "o", color="tab:blue", markersize=7)
    last = figures["last_epoch"]
    label = f"mean {last['mean']:.3f}"
    if last["low"] is not None:
        label += f", 95 % interval {last['low']:.3f} to {last['high']:.3f} (Student's t)"
        if _says_something(last):
            axes.axvspan(last["low"], last["high"], color="tab:orange", alpha=0.2)
    axes.axvline(last["mean"], color="tab:orange", label=label)
    axes.set_ylim(0, max(stacks.values()) + 1)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.set_xlabel(f"{figures['split']} accuracy of the last epoch (%)")
    axes.set_ylabel("seeds")
    axes.set_title(_title(figures), fontsize=11)
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside lower center", fontsize=9, frameon=False)
    return figure


def _curves(figures: Mapping[str, Any], values: np.ndarray) -> Figure:
    """Draws the mean and the range of curves, `[seeds, epochs]`."""
    figure = Figure(figsize=(7, _HEIGHT + 0.9), layout="constrained")
    axes = figure.subplots()
    epochs = range(1, values.shape[1] + 1)
    mean, highest, lowest = (errors_of(of(axis=0).tolist()) for of in (values.mean, values.min, values.max))
    label = "lowest to highest seed"
    axes.fill_between(epochs, highest, lowest, color="tab:blue", alpha=0.2, linewidth=0, label=label)
    axes.plot(epochs, mean, color="tab:blue", marker="o", markersize=4, label="mean")
    first = min(_UNSETTLED, len(mean) - 1)
    bottom, top = 1.15 * max(highest[first:]), min(lowest[first:]) / 1.15
    axes.set_yscale("log")
    axes.set_ylim(bottom, top)
    label_accuracies(axes, _HEIGHT)
    threshold = figures["threshold"]
    if top < 100 - threshold < bottom:
        axes.axhline(100 - threshold, color="grey", linewidth=0.8, linestyle=":", label=f"{threshold:g} %")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel(f"{figures['split']} accuracy (%), log scale of the error")
    hidden = "\n(first epochs may lie below the axes)" if max(highest) > bottom else ""
    axes.set_title(f"{_title(figures)}{hidden}", fontsize=11)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize=9)
    return figure


def _title(figures: Mapping[str, Any]) -> str:
    count = len(figures["seeds"])
    network = f"{arch_title(figures['arch'])}, recipe {figures['recipe']}"
    return f"{network}, {figures['dataset']}: {count} seed{'s' * (count > 1)}"
