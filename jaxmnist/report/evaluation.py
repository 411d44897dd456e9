"""What `jaxmnist.evaluate` and `jaxmnist.predict` found, in the terminal; 80 columns do."""

from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxmnist.report.terminal import print_warning_box

_WORST = 5


def print_evaluation(console: Console, figures: dict[str, Any], files: list[Path]) -> None:
    """The contents of `evaluation.json`: figures, confusion matrix, worst mistakes; and the files written."""

    def line(text: str = "") -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    split, dataset, mistakes = figures["split"], figures["dataset"], figures["mistakes"]
    line(f"{'network':<11}{describe(figures)}")
    line(f"{'data':<11}{split} images of {dataset}, from {figures['data_source']}")
    line(f"{'loss':<11}{figures['loss']:.4f}")
    line(f"{'accuracy':<11}{figures['correct']}/{figures['examples']} ({figures['accuracy']:.2f} %)")
    line()
    console.print(_confusion_table(figures))
    if mistakes:
        line(f"Most confident mistakes of {len(mistakes):,} (index into the {_pool(split)} images):")
        for mistake in mistakes[:_WORST]:
            line(
                f"  {mistake['label']} taken for {mistake['prediction']}, "
                f"{100 * mistake['confidence']:6.2f} % sure, index {mistake['index']}"
            )
    else:
        line("No mistakes: there is nothing to draw.")
    line()
    if not figures["data_of_run"]:
        print_warning_box(
            console, f"The run was trained on other data ({figures['trained_on']}) than these ({dataset})."
        )
    if dataset == "digits":
        print_warning_box(console, "These figures are for scikit-learn's digits. This is not MNIST.")
    for file in files:
        line(f"Written: {file}")


def print_predictions(console: Console, predictions: list[dict[str, Any]]) -> None:
    """A line per image: file, prediction, its confidence, the three likeliest classes."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("file", overflow="fold")
    table.add_column("prediction", justify="right", style="bold")
    table.add_column("confidence", justify="right")
    table.add_column("top three", no_wrap=True)
    for row in predictions:
        shares = row["probabilities"]
        likeliest = sorted(range(len(shares)), key=lambda digit, shares=shares: -shares[digit])[:3]
        top = "  ".join(f"{digit} {100 * shares[digit]:5.1f} %" for digit in likeliest)
        table.add_row(Text(row["file"]), str(row["prediction"]), f"{100 * row['confidence']:.2f} %", top)
    console.print(table)


def describe(figures: dict[str, Any]) -> str:
    """Which network, in a phrase: arch, recipe, what it was trained on, seed, epoch or step."""
    when = f"step {figures['step']}" if figures["epoch"] is None else f"epoch {figures['epoch']}"
    return (
        f"{figures['arch']}, recipe {figures['recipe']}, trained on {figures['trained_on']}, "
        f"seed {figures['seed']}, {when} ({figures['checkpoint']} checkpoint)"
    )


def _confusion_table(figures: dict[str, Any]) -> Table:
    matrix = figures["confusion"]
    table = Table(
        title="True class (row), predicted class (column)",
        box=SIMPLE_HEAD,
        title_justify="left",
        title_style="bold",
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("true", style="bold")
    for name in (*map(str, range(len(matrix))), "correct"):
        table.add_column(name, justify="right")
    for label, (counts, share) in enumerate(zip(matrix, figures["class_accuracies"], strict=True)):
        cells = [_cell(count, label == column) for column, count in enumerate(counts)]
        table.add_row(str(label), *cells, "" if share is None else f"{share:.2f} %")
    return table


def _cell(count: int, right: bool) -> Text:
    # Dots instead of zeros, so that the few mistakes stand out.
    style = "green" if right else "red"
    return Text(str(count), style=style) if count or right else Text("·", style="dim")


def _pool(split: str) -> str:
    return "test" if split == "test" else "training"
