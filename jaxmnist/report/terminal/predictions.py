"""Predictions in the terminal, within 80 columns."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from jaxmnist.inference.predict import FilePrediction, FileReading
from jaxmnist.report.terminal import name_cell
from jaxmnist.report.terminal.console import SafeConsole

_T = TypeVar("_T")

_LONGEST_NAME = 12  # of a class; three of them fit into a line

MANY = 200
"""Number of images from which progress is shown; they take about a second."""


def print_predictions(console: Console, predictions: Sequence[FilePrediction]) -> None:
    """Prints each image's file, prediction, confidence and the next two likeliest classes, and warnings, if any."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("file", overflow="fold")
    table.add_column("prediction", justify="right", style="bold", no_wrap=True)
    table.add_column("confidence", justify="right", no_wrap=True)
    table.add_column("next likeliest", no_wrap=not any(row.warning for row in predictions))
    for row in predictions:
        names = [_cut(row.classes[label]) for label in row.top_three]
        shares = [f"{100 * row.probabilities[label]:.1f} %" for label in row.top_three]
        others = Text(", ".join(map(" ".join, list(zip(names, shares, strict=True))[1:])))
        if row.warning:
            others.append(f"\n{row.warning}", style="yellow")
        table.add_row(name_cell(row.file), name_cell(names[0]), f"{100 * row.confidence:.2f} %", others)
    console.print(table)


def print_readings(console: Console, readings: Sequence[FileReading]) -> None:
    """Prints each image's file, its lines of digits, the least sure digit, and warnings, if any."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("file", overflow="fold")
    table.add_column("digits", style="bold", overflow="fold")
    table.add_column("least sure", justify="right", no_wrap=True)
    table.add_column("")
    for file, reading, _ in readings:
        shares = [max(digit.probabilities) for digit in reading.digits]
        least = f"{100 * min(shares):.2f} %" if shares else ""
        warnings = "\n".join(reading.warnings) if shares else "no digits found"
        table.add_row(name_cell(file), "\n".join(reading.lines), least, Text(warnings, style="yellow"))
    console.print(table)


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def progress(rows: Iterable[_T], count: int, is_shown: bool = True) -> Iterator[_T]:
    """Yields the rows of `count` images, with a bar on standard error if that is a terminal and they are many."""
    console = SafeConsole(stderr=True)
    if not (is_shown and console.is_terminal and count >= MANY):
        yield from rows
        return
    columns = (TextColumn("Images"), BarColumn(bar_width=None), MofNCompleteColumn(), TimeRemainingColumn())
    # Standard output is left alone: it may be a file.
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as bar:
        yield from bar.track(rows, count)
