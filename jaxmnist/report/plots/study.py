"""Pictures of a study: how its seeds are distributed, and their curves."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jaxmnist.report.plots.accuracy_axis import errors_of, label_accuracies
from jaxmnist.runs.curves import PLOTS, save_figure

_HEIGHT = 3.6  # of the curves' axes, in inches
_UNSETTLED = 2  # first epochs that may lie below the axes, which they would take most of


def save_study_pictures(
    folder: Path, figures: dict[str, Any], curves: Sequence[Sequence[float]]
) -> list[Path]:
    """Draws `distribution.png` and `curves.png` into the study's `plots/`.

    Args:
        folder: of the study.
        figures: its `summary.json`.
        curves: accuracies in percent after each epoch, of each seed.

    Returns:
        The files written.
    """
    (folder / PLOTS).mkdir(exist_ok=True)
    return [
        save_figure(
            _distribution(figures, [curve[-1] for curve in curves]), folder / PLOTS / "distribution.png"
        ),
        save_figure(_curves(figures, curves), folder / PLOTS / "curves.png"),
    ]


def save_comparison(folder: Path, compared: Mapping[str, Any]) -> Path:
    """Draws `comparison.png` into a folder: the mean of each study with its interval, and each seed.

    Args:
        folder: made where it is missing.
        compared: what `jaxmnist.experiments.study.compare.compare_with_first` gives; its studies stand from top to bottom.
    """
    folder.mkdir(parents=True, exist_ok=True)
    studies = compared["studies"]
    figure = Figure(figsize=(8, 1.2 + 0.32 * len(studies)), layout="constrained")
    axes = figure.subplots()
    for row, study in enumerate(studies):
        last = study["last_epoch"]
        axes.plot(study["accuracies"], [row] * len(study["accuracies"]), ".", color="tab:grey", alpha=0.6)
        ends = [
            [last["mean"] - (last["low"] or last["mean"])],
            [(last["high"] or last["mean"]) - last["mean"]],
        ]
        axes.errorbar(last["mean"], row, xerr=ends, fmt="o", color="tab:blue", capsize=3)
    axes.axvline(studies[0]["last_epoch"]["mean"], color="tab:orange", linewidth=1)
    axes.set_yticks(range(len(studies)), [Path(study["study"]).name for study in studies])
    axes.invert_yaxis()
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.set_xlabel(f"{compared['split']} accuracy of the last epoch (%): seeds, mean and its 95 % interval")
    axes.grid(axis="x", alpha=0.3)
    return save_figure(figure, folder / "comparison.png")


def _distribution(figures: dict[str, Any], values: list[float]) -> Figure:
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    # Accuracies are whole images, so seeds fall on each other: they are piled up.
    piles: Counter[float] = Counter()
    for value in sorted(values):
        piles[round(value, 4)] += 1
        axes.plot(value, piles[round(value, 4)], "o", color="tab:blue", markersize=7)
    last, height = figures["last_epoch"], max(piles.values())
    label = f"mean {last['mean']:.3f}"
    if last["low"] is not None:
        label += f", 95 % interval {last['low']:.3f} to {last['high']:.3f} (Student's t)"
        axes.axvspan(last["low"], last["high"], color="tab:orange", alpha=0.2)
    axes.axvline(last["mean"], color="tab:orange", label=label)
    axes.set_ylim(0, height + 1)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.set_xlabel(f"{figures['split']} accuracy of the last epoch (%)")
    axes.set_ylabel("seeds")
    axes.set_title(_title(figures), fontsize=11)
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside lower center", fontsize=9, frameon=False)
    return figure


def _curves(figures: dict[str, Any], curves: Sequence[Sequence[float]]) -> Figure:
    figure = Figure(figsize=(7, _HEIGHT + 0.9), layout="constrained")
    axes = figure.subplots()
    axes.set_yscale("log")
    values = np.array(curves)
    epochs = np.arange(1, values.shape[1] + 1)
    mean = values.mean(0)
    axes.fill_between(
        epochs,
        errors_of(values.min(0).tolist()),
        errors_of(values.max(0).tolist()),
        color="tab:blue",
        alpha=0.2,
        linewidth=0,
        label="lowest to highest seed",
    )
    axes.plot(epochs, errors_of(mean.tolist()), color="tab:blue", marker="o", markersize=4, label="mean")
    settled = values[:, min(_UNSETTLED, values.shape[1] - 1) :]
    bottom, top = (
        1.15 * max(errors_of(settled.min(0).tolist())),
        min(errors_of(settled.max(0).tolist())) / 1.15,
    )
    axes.set_ylim(bottom, top)
    label_accuracies(axes, _HEIGHT)
    threshold = figures["threshold"]
    if top < 100 - threshold < bottom:
        axes.axhline(100 - threshold, color="grey", linewidth=0.8, linestyle=":", label=f"{threshold:g} %")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel(f"{figures['split']} accuracy (%), log scale of the error")
    hidden = "\n(first epochs may lie below the axes)" if (values < 100 - bottom).any() else ""
    axes.set_title(f"{_title(figures)}{hidden}", fontsize=11)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize=9)
    return figure


def _title(figures: dict[str, Any]) -> str:
    count = len(figures["seeds"])
    return f"{figures['arch']}, recipe {figures['recipe']}, {figures['dataset']}: {count} seed{'s' * (count > 1)}"
