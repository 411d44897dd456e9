"""Pictures of an evaluation: what was mistaken for what."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from jaxmnist.inference.evaluate import Evaluation
from jaxmnist.report.terminal.evaluation import count_errors, describe_split, file_suffix
from jaxmnist.runs.curves import PLOTS, save_figure

_SHOWN = 60
_COLUMNS = 8


def save_evaluation_pictures(
    folder: Path,
    evaluation: Evaluation,
    network: str,
    images: UInt8[np.ndarray, "n 28 28"] | Float32[np.ndarray, "n 28 28"],
) -> list[Path]:
    """Draws `plots/confusion.png` and, where there are mistakes, `plots/mistakes.png` below a folder.

    The names of pictures of other splits than `test` end in `file_suffix`.

    Args:
        folder: gets the subfolder if it has none.
        evaluation: the evaluation.
        network: the network's description, for the titles.
        images: what the indices of the mistakes point into, as they were classified.

    Returns:
        The files written. Without mistakes an older `mistakes.png` is removed: it shows another evaluation.
    """
    plots = folder / PLOTS
    plots.mkdir(parents=True, exist_ok=True)
    confusion, mistakes = (
        plots / f"{name}{file_suffix(evaluation)}.png" for name in ("confusion", "mistakes")
    )
    files = [save_figure(confusion_figure(evaluation, network), confusion)]
    if evaluation.mistakes:
        return [*files, save_figure(_mistakes(evaluation, network, images), mistakes)]
    mistakes.unlink(missing_ok=True)
    return files


def confusion_figure(evaluation: Evaluation, network: str) -> Figure:
    """The confusion matrix of the contents of an evaluation file."""
    matrix = np.array(evaluation.confusion)
    right = np.eye(len(matrix), dtype=bool)
    figure = Figure(figsize=(7.6, 7.2), layout="constrained")
    axes = figure.subplots()
    # The diagonal holds nearly everything: only without it do the mistakes differ in colour.
    wrong = np.ma.masked_array(matrix, right)
    axes.imshow(wrong, cmap="Reds", vmin=0, vmax=max(1, wrong.max()))
    axes.set_facecolor("#dcebdc")
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            dark = row != column and count > 0.6 * wrong.max()
            colour = "white" if dark else "black"
            axes.text(column, row, str(count), ha="center", va="center", fontsize=9, color=colour)
    axes.set_xticks(range(len(matrix)))
    axes.set_yticks(range(len(matrix)))
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.set_title(_title("Confusion matrix", evaluation, network), fontsize=10)
    # A second axis would shrink the matrix's own; labels beside the rows do not.
    for row, share in enumerate(evaluation.class_accuracies):
        text = "" if share is None else f"{share:.2f} %"
        axes.annotate(text, (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=9)
    axes.annotate("correct", (1.01, 1.01), xycoords="axes fraction", fontsize=9)
    return figure


def _mistakes(evaluation: Evaluation, network: str, images: np.ndarray) -> Figure:
    shown = evaluation.mistakes[:_SHOWN]
    rows = -(-len(shown) // _COLUMNS)
    # Room between the rows, so that a caption is seen to belong to the image below it.
    layout = ConstrainedLayoutEngine(hspace=0.08)
    figure = Figure(figsize=(10.5, 0.9 + 1.7 * rows), layout=layout)
    grid = figure.subplots(rows, _COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, mistake in zip(grid.flat, shown, strict=False):
        axes.imshow(images[mistake.index], cmap="gray", vmin=0, vmax=255)
        axes.set_title(
            f"{mistake.label} taken for {mistake.prediction}\n"
            f"{100 * mistake.confidence:.2f} %, #{mistake.index}",
            fontsize=9,
        )
    count = f"The {len(shown)} most confident of" if len(shown) < len(evaluation.mistakes) else "All"
    heading = f"{count} {len(evaluation.mistakes):,} mistakes: true class, prediction, its confidence, #index"
    figure.suptitle(_title(heading, evaluation, network), fontsize=10)
    return figure


def _title(heading: str, evaluation: Evaluation, network: str) -> str:
    return (
        f"{heading}\n{network}\n{describe_split(evaluation)} images of {evaluation.dataset}: "
        f"{evaluation.correct:,} of {evaluation.examples:,} correct ({evaluation.accuracy:.2f} %), "
        f"{count_errors(evaluation)}"
    )
