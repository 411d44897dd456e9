"""Evaluations in the terminal, within 80 columns."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxmnist.data import DIGITS
from jaxmnist.data.dataset import dataset_title
from jaxmnist.errors import counted
from jaxmnist.inference.calibration import BINS
from jaxmnist.inference.evaluate import Evaluation
from jaxmnist.models import arch_title
from jaxmnist.report.terminal import print_facts, print_files, print_line, print_warning_box, warn_of_digits
from jaxmnist.train.network import Network

_WORST = 5
_MOST_COLUMNS = 10  # of a matrix within 80 characters
_MOST_ROWS = 62  # as many as the largest set of EMNIST has classes


def print_evaluations(
    console: Console, network: str, evaluations: Sequence[Evaluation], files: Sequence[Path]
) -> None:
    """Prints one evaluation with its confusion matrix, or those of several splits side by side.

    Args:
        console: the terminal.
        network: the network's description, see `describe_network`.
        evaluations: evaluations of the same network on splits of the same dataset.
        files: the files written.
    """
    first, facts = evaluations[0], {"network": network}
    if len(evaluations) == 1:
        share = f"{first.correct:,}/{first.examples:,} ({first.accuracy:.2f} %)"
        facts |= {
            "data": f"{describe_split(first)} images of {first.dataset}, from {first.data_source}",
            "loss": f"{first.loss:.5f}",
            "accuracy": f"{share}, {count_errors(first)}",
            "calibration": describe_calibration(first),
        }
        table = _confusion_table(first) if len(first.classes) <= _MOST_COLUMNS else _classes_table(first)
    else:
        facts["data"] = f"{first.dataset}, from {first.data_source}"
        table = _splits_table(evaluations)
    print_facts(console, facts)
    print_line(console)
    console.print(table)
    for evaluation in evaluations:
        _print_mistakes(console, evaluation)
        print_line(console)
    if first.data_of_run is False:
        message = f"The run was trained on other data ({first.trained_on}) than these ({first.dataset})."
        print_warning_box(console, message)
    warn_of_digits(console, first.dataset)
    print_files(console, files)


def describe_network(network: Network, path: Path, checkpoint: str) -> str:
    """Describes a network in a phrase: arch, recipe, and its run or the name of its weights file."""
    phrase = f"{arch_title(network.arch)}, recipe {network.recipe.name}"
    if network.config is None:
        return f"{phrase}, weights of {path.name}"
    run = f"trained on {dataset_title(network.config.dataset)}, seed {network.config.seed}, {network.when}"
    return f"{phrase}, {run} ({checkpoint} checkpoint)"


def describe_calibration(evaluation: Evaluation) -> str:
    """Names the expected calibration error and the temperature behind it."""
    error = f"expected error {100 * evaluation.expected_calibration_error:.2f} % over {BINS} bins"
    return f"{error}, temperature {evaluation.temperature:g}"


def describe_split(evaluation: Evaluation) -> str:
    """Names the images in a few words: train, augmented train, test (mean over 9 shifts)."""
    augmented = "" if evaluation.augmentation_seed is None else "augmented "
    shifts = f" (mean over {(2 * evaluation.shifts + 1) ** 2} shifts)" if evaluation.shifts else ""
    return f"{augmented}{evaluation.split}{shifts}"


def count_errors(evaluation: Evaluation) -> str:
    """Returns the number of errors with its noun."""
    return counted(evaluation.errors, "error")


def file_suffix(evaluation: Evaluation) -> str:
    """Returns the end of the names of an evaluation's files: nothing for the plain test images, else `-train`, say."""
    augmented = "" if evaluation.augmentation_seed is None else "-augmented"
    shifts = f"-shifts{evaluation.shifts}" if evaluation.shifts else ""
    split = "" if evaluation.split == "test" else f"-{evaluation.split}{augmented}"
    return f"{split}{shifts}"


def _print_mistakes(console: Console, evaluation: Evaluation) -> None:
    mistakes, split = evaluation.mistakes, describe_split(evaluation)
    if not mistakes:
        print_line(console, f"No {split} mistakes: there is nothing to draw.")
        return
    pool = "test" if evaluation.split == "test" else "training"
    print_line(console, f"Most confident of {len(mistakes):,} {split} mistakes (index into {pool} images):")
    for mistake in mistakes[:_WORST]:
        names = evaluation.classes[mistake.label], evaluation.classes[mistake.prediction]
        confidence = f"{100 * mistake.confidence:6.2f} % sure"
        print_line(console, f"  {names[0]} taken for {names[1]}, {confidence}, index {mistake.index}")


def _splits_table(evaluations: Sequence[Evaluation]) -> Table:
    table = _table(None, "", map(describe_split, evaluations))
    for name in ("examples", "correct", "errors"):
        table.add_row(name, *(f"{getattr(evaluation, name):,}" for evaluation in evaluations))
    table.add_row("accuracy", *(f"{evaluation.accuracy:.2f} %" for evaluation in evaluations))
    table.add_row("loss", *(f"{evaluation.loss:.5f}" for evaluation in evaluations), end_section=True)
    columns = [evaluation.class_accuracies for evaluation in evaluations]
    for label in _worst(evaluations[0]):
        shares = [shares[label] for shares in columns]
        table.add_row(Text(f"{evaluations[0].classes[label]} correct"), *map(_percent, shares))
    return table


def _confusion_table(evaluation: Evaluation) -> Table:
    columns = (*map(str, range(len(evaluation.confusion))), "correct")
    table = _table("True class (row), predicted class (column)", "true", columns)
    rows = zip(evaluation.confusion, evaluation.class_accuracies, strict=True)
    for label, (counts, share) in enumerate(rows):
        cells = [_cell(count, label == column) for column, count in enumerate(counts)]
        name = "" if evaluation.classes == [*DIGITS] else f" {evaluation.classes[label]}"
        table.add_row(Text(f"{label}{name}"), *cells, _percent(share))
    return table


def _classes_table(evaluation: Evaluation) -> Table:
    """Lists the classes with their commonest mistakes, where a matrix would be too wide."""
    shown = _worst(evaluation)
    title = "Classes" if len(shown) == len(evaluation.classes) else f"The {len(shown)} worst classes"
    table = _table(title, "true", ("images", "correct", "most often taken for"))
    table.columns[-1].justify = "left"
    for label in shown:
        counts = evaluation.confusion[label]
        wrong = sorted((-count, column) for column, count in enumerate(counts) if count and column != label)
        taken = ", ".join(f"{evaluation.classes[column]} ({-count})" for count, column in wrong[:3])
        share = _percent(evaluation.class_accuracies[label])
        table.add_row(Text(evaluation.classes[label]), f"{sum(counts):,}", share, Text(taken))
    return table


def _worst(evaluation: Evaluation) -> list[int]:
    """Returns the classes to show: all, or if these are many those with the lowest accuracies."""
    if len(evaluation.classes) <= _MOST_ROWS:
        return list(range(len(evaluation.classes)))
    known = ((share, label) for label, share in enumerate(evaluation.class_accuracies) if share is not None)
    return [label for _, label in sorted(known)[:_MOST_ROWS]]


def _table(title: str | None, first_column: str, columns: Iterable[str]) -> Table:
    layout = {"box": SIMPLE_HEAD, "pad_edge": False, "padding": (0, 1, 0, 0)}
    table = Table(title=title, title_justify="left", title_style="bold", **layout)
    table.add_column(first_column, style="bold")
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.2f} %"


def _cell(count: int, right: bool) -> Text:
    # Dots instead of zeros, so that the few mistakes stand out.
    style = "green" if right else "red"
    return Text(str(count), style=style) if count or right else Text("·", style="dim")
