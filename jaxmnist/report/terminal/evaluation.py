"""What `jaxmnist.inference.evaluate` found, in the terminal; 80 columns do."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxmnist.report.terminal.training import print_warning_box

_WORST = 5


def print_evaluation(console: Console, figures: dict[str, Any], files: list[Path]) -> None:
    """The contents of one evaluation file: figures, confusion matrix, worst mistakes; and the files written."""
    line = _printer(console)
    split = f"{describe_split(figures)} images of {figures['dataset']}"
    line(f"{'network':<11}{describe(figures)}")
    line(f"{'data':<11}{split}, from {figures['data_source']}")
    line(f"{'loss':<11}{figures['loss']:.5f}")
    share = f"{figures['correct']:,}/{figures['examples']:,} ({figures['accuracy']:.2f} %)"
    line(f"{'accuracy':<11}{share}, {count_errors(figures)}")
    line()
    console.print(_confusion_table(figures))
    _print_mistakes(line, figures)
    line()
    _print_end(console, figures, files)


def print_splits(console: Console, results: list[dict[str, Any]], files: list[Path]) -> None:
    """The contents of the evaluation files of several splits, side by side; and the files written."""
    line = _printer(console)
    line(f"{'network':<11}{describe(results[0])}")
    line(f"{'data':<11}{results[0]['dataset']}, from {results[0]['data_source']}")
    line()
    console.print(_splits_table(results))
    for figures in results:
        _print_mistakes(line, figures)
        line()
    _print_end(console, results[0], files)


def describe(figures: dict[str, Any]) -> str:
    """Which network, in a phrase: arch, recipe, and its run's data, seed and epoch or its weights file."""
    network = f"{figures['arch']}, recipe {figures['recipe']}"
    if figures["weights"] is not None:
        return f"{network}, weights of {Path(figures['weights']).name}"
    when = f"step {figures['step']}" if figures["epoch"] is None else f"epoch {figures['epoch']}"
    return (
        f"{network}, trained on {figures['trained_on']}, seed {figures['seed']}, {when} "
        f"({figures['checkpoint']} checkpoint)"
    )


def describe_split(figures: dict[str, Any]) -> str:
    """Which images of a dataset, in a word or two: train, augmented train, test."""
    augmented = figures["augmentation_seed"] is not None
    split = f"augmented {figures['split']}" if augmented else figures["split"]
    return f"{split} (mean over {(2 * figures['shifts'] + 1) ** 2} shifts)" if figures["shifts"] else split


def count_errors(figures: dict[str, Any]) -> str:
    """The number of errors with its noun."""
    return f"{figures['errors']:,} error{'' if figures['errors'] == 1 else 's'}"


def file_suffix(figures: dict[str, Any]) -> str:
    """End of the names of an evaluation's files, so that they differ; nothing for the test images."""
    augmented = "-augmented" if figures["augmentation_seed"] is not None else ""
    shifted = f"-shifts{figures['shifts']}" if figures["shifts"] else ""
    split = "" if figures["split"] == "test" else f"-{figures['split']}{augmented}"
    return f"{split}{shifted}"


def _printer(console: Console) -> Callable[..., None]:
    def line(text: str = "") -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    return line


def _print_mistakes(line: Callable[..., None], figures: dict[str, Any]) -> None:
    mistakes, split = figures["mistakes"], describe_split(figures)
    if not mistakes:
        line(f"No {split} mistakes: there is nothing to draw.")
        return
    pool = "test" if figures["split"] == "test" else "training"
    line(f"Most confident of {len(mistakes):,} {split} mistakes (index into {pool} images):")
    for mistake in mistakes[:_WORST]:
        line(
            f"  {mistake['label']} taken for {mistake['prediction']}, "
            f"{100 * mistake['confidence']:6.2f} % sure, index {mistake['index']}"
        )


def _print_end(console: Console, figures: dict[str, Any], files: list[Path]) -> None:
    if figures["data_of_run"] is False:
        print_warning_box(
            console,
            f"The run was trained on other data ({figures['trained_on']}) than these ({figures['dataset']}).",
        )
    if figures["dataset"] == "digits":
        print_warning_box(console, "These figures are for scikit-learn's digits. This is not MNIST.")
    for file in files:
        _printer(console)(f"Written: {file}")


def _table(title: str | None, first_column: str, columns: Iterable[str]) -> Table:
    table = Table(
        title=title,
        box=SIMPLE_HEAD,
        title_justify="left",
        title_style="bold",
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column(first_column, style="bold")
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _splits_table(results: list[dict[str, Any]]) -> Table:
    table = _table(None, "", map(describe_split, results))
    for name in ("examples", "correct", "errors"):
        table.add_row(name, *(f"{figures[name]:,}" for figures in results))
    table.add_row("accuracy", *(f"{figures['accuracy']:.2f} %" for figures in results))
    table.add_row("loss", *(f"{figures['loss']:.5f}" for figures in results), end_section=True)
    for label, shares in enumerate(zip(*(figures["class_accuracies"] for figures in results), strict=True)):
        table.add_row(f"{label} correct", *map(_share, shares))
    return table


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.2f} %"


def _confusion_table(figures: dict[str, Any]) -> Table:
    matrix = figures["confusion"]
    columns = (*map(str, range(len(matrix))), "correct")
    table = _table("True class (row), predicted class (column)", "true", columns)
    for label, (counts, share) in enumerate(zip(matrix, figures["class_accuracies"], strict=True)):
        cells = [_cell(count, label == column) for column, count in enumerate(counts)]
        table.add_row(str(label), *cells, _share(share))
    return table


def _cell(count: int, right: bool) -> Text:
    # Dots instead of zeros, so that the few mistakes stand out.
    style = "green" if right else "red"
    return Text(str(count), style=style) if count or right else Text("·", style="dim")
