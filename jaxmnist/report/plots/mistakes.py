"""Plots of an evaluation: confusion matrix and mistakes."""

import math
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from jaxmnist.inference.evaluate import Evaluation
from jaxmnist.report.plots.reliability import reliability_figure
from jaxmnist.report.terminal.evaluation import count_errors, describe_split, file_suffix
from jaxmnist.runs.curves import PLOTS, plain, save_figure

_LARGEST = 18.0
"""Longest side of a confusion matrix in inches."""
_LEAST_CELL = 9.0
"""Side of a cell in points from which numbers can be read."""
_SHOWN = 60
_COLUMNS = 8
_CAPTION = 22  # letters that fit over an image


def save_evaluation_plots(
    folder: Path,
    evaluation: Evaluation,
    network: str,
    images: UInt8[np.ndarray, "n 28 28"] | Float32[np.ndarray, "n 28 28"],
) -> list[Path]:
    """Draws `plots/confusion.png`, `plots/reliability.png` and, if there are mistakes, `plots/mistakes.png`.

    The names end in `file_suffix`. Without mistakes an older `mistakes.png`, of another evaluation, is deleted.

    Args:
        folder: folder to draw into.
        evaluation: the evaluation.
        network: the network's description, for the titles.
        images: images as they were predicted, which the indices of the mistakes point into.

    Returns:
        The files written.
    """
    plots = folder / PLOTS
    plots.mkdir(parents=True, exist_ok=True)
    suffix = f"{file_suffix(evaluation)}.png"
    files = [
        save_figure(confusion_figure(evaluation, network), plots / f"confusion{suffix}"),
        save_figure(reliability_figure(evaluation, network), plots / f"reliability{suffix}"),
    ]
    if not evaluation.mistakes:
        (plots / f"mistakes{suffix}").unlink(missing_ok=True)
        return files
    return [*files, save_figure(_mistakes_figure(evaluation, network, images), plots / f"mistakes{suffix}")]


def confusion_figure(evaluation: Evaluation, network: str) -> Figure:
    """Draws the confusion matrix of an evaluation."""
    matrix, names = np.array(evaluation.confusion), list(map(plain, evaluation.classes))
    # Cells of one size, until the figure would be too large to look at; then without numbers.
    side = min(0.6 * len(names), _LARGEST) + 1.2
    figure = Figure(
        figsize=(max(7.6, side + 0.1 * max(map(len, names))), max(4.6, side)), layout="constrained"
    )
    cell = 72 * (side - 1.2) / len(names)  # in points
    size = min(9.0, 0.7 * cell)
    axes = figure.subplots()
    # The diagonal holds nearly everything: only without it do the mistakes differ in colour.
    wrong = np.ma.masked_array(matrix, np.eye(len(matrix), dtype=bool))
    axes.imshow(wrong, cmap="Reds", vmin=0, vmax=max(1, wrong.max()))
    axes.set_facecolor("#dcebdc")
    for (row, column), count in np.ndenumerate(matrix):
        if count and cell >= _LEAST_CELL:
            colour = "white" if row != column and count > 0.6 * wrong.max() else "black"
            axes.text(column, row, str(count), ha="center", va="center", fontsize=size, color=colour)
    every = max(
        1, math.ceil(_LEAST_CELL / cell / 1.5)
    )  # a name in so many rows, so that none is printed over another
    ticks = range(0, len(matrix), every)
    axes.set(xlabel="predicted class", ylabel="true class")
    upright = max(map(len, names)) > 2
    axes.set_xticks(ticks, names[::every], fontsize=max(size, 4), rotation=90 if upright else 0)
    axes.set_yticks(ticks, names[::every], fontsize=max(size, 4))
    figure.suptitle(_title("Confusion matrix", evaluation, network), fontsize=10)
    # A second axis would shrink the matrix's own; labels beside the rows do not.
    for row, share in enumerate(evaluation.class_accuracies):
        text = "" if share is None or row % every else f"{share:.2f} %"
        axes.annotate(
            text, (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=max(size, 4)
        )
    axes.annotate("correct", (1.01, 1.01), xycoords="axes fraction", fontsize=9)
    return figure


def _mistakes_figure(evaluation: Evaluation, network: str, images: np.ndarray) -> Figure:
    mistakes = evaluation.mistakes
    shown = mistakes[:_SHOWN]
    rows = -(-len(shown) // _COLUMNS)
    # Room between the rows, so that a caption is seen to belong to the image below it.
    layout = ConstrainedLayoutEngine(hspace=0.08)
    figure = Figure(figsize=(10.5, 0.9 + 1.7 * rows), layout=layout)
    grid = figure.subplots(rows, _COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, mistake in zip(grid.flat, shown, strict=False):
        axes.imshow(images[mistake.index], cmap="gray", vmin=0, vmax=255)
        label, prediction = (
            plain(evaluation.classes[label], 16) for label in (mistake.label, mistake.prediction)
        )
        taken = f"{label} taken for {prediction}"
        if len(taken) > _CAPTION:
            taken = f"{label}\ntaken for {prediction}"
        axes.set_title(f"{taken}\n{100 * mistake.confidence:.2f} %, #{mistake.index}", fontsize=9)
    count = f"The {len(shown)} most confident of" if len(shown) < len(mistakes) else "All"
    heading = f"{count} {len(mistakes):,} mistakes: true class, prediction, its confidence, #index"
    figure.suptitle(_title(heading, evaluation, network), fontsize=10)
    return figure


def _title(heading: str, evaluation: Evaluation, network: str) -> str:
    return (
        f"{heading}\n{network}\n{describe_split(evaluation)} images of {evaluation.dataset}: "
        f"{evaluation.correct:,} of {evaluation.examples:,} correct ({evaluation.accuracy:.2f} %), "
        f"{count_errors(evaluation)}"
    )
