"""What `jaxmnist.inference.predict` found, in the terminal; 80 columns do."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

_T = TypeVar("_T")

MANY = 200
"""From so many images on, which take about a second, progress is shown."""


def print_predictions(console: Console, predictions: list[dict[str, Any]]) -> None:
    """A line per image: file, prediction, its confidence, the three likeliest classes, warning if there are any."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("file", overflow="fold")
    table.add_column("prediction", justify="right", style="bold")
    table.add_column("confidence", justify="right")
    table.add_column("top three", no_wrap=True)
    warns = any(row["warning"] for row in predictions)
    if warns:
        table.add_column("warning", style="yellow")
    for row in predictions:
        top = "  ".join(f"{one['class']} {100 * one['probability']:5.1f} %" for one in row["top_three"])
        cells = [Text(row["file"]), str(row["prediction"]), f"{100 * row['confidence']:.2f} %", top]
        table.add_row(*cells, *[row["warning"] or ""] * warns)
    console.print(table)


def progress(rows: Iterable[_T], count: int, is_shown: bool = True) -> Iterator[_T]:
    """Passes the rows of `count` images on, with a bar on standard error if that is a terminal and they are many."""
    console = Console(stderr=True)
    if not (is_shown and console.is_terminal and count >= MANY):
        yield from rows
        return
    bar = Progress(
        TextColumn("Images"),
        BarColumn(bar_width=None),
        TextColumn("{task.completed:,}/{task.total:,}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,  # what is printed there may go elsewhere
    )
    with bar:
        task = bar.add_task("", total=count)
        for row in rows:
            bar.advance(task)
            yield row
