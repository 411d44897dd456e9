"""Tables of runs beside the published ones: in the terminal, within 80 columns, and as Markdown."""

import itertools
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxmnist.errors import counted, escaped
from jaxmnist.inference.markdown import to_markdown
from jaxmnist.report.terminal import print_line
from jaxmnist.runs.compare import ComparedRun

# Columns of the terminal's table: the figure on the first line of a cell, the one below it, and the heading.
_COLUMNS = (
    ("seed", None, "seed"),
    ("parameters", "seconds", "params\nseconds"),
    ("last-five mean", "published", "last five\npublished"),
    ("points", None, "points"),
    ("best test (epoch)", "published best", "best\npublished"),
    ("selected (epoch)", "selected on", "selected\non"),
)


def print_comparison(console: Console, compared: Sequence[ComparedRun]) -> None:
    """Prints a table of finished runs for each dataset, then the unfinished runs with their folders."""
    finished = [run for run in compared if run.finished]
    for dataset, group in itertools.groupby(finished, lambda run: run.dataset):
        console.print(_table(dataset, list(group)))
    for run in compared:
        if not run.finished:
            print_line(console, _unfinished(run))
            print_line(console, f"  in {run.run}")
    for line in _notes(finished):
        console.print(line, highlight=False, markup=False)


def markdown_table(compared: Sequence[ComparedRun]) -> str:
    """Returns the finished runs as a Markdown table, a line each, and a list of the unfinished ones."""
    parts = []
    if rows := [run.cells() for run in compared if run.finished]:
        texts = ("network", "recipe", "dataset", "selected on")
        rule = ("---" if heading in texts else "---:" for heading in rows[0])
        lines = (rows[0], rule, *(map(to_markdown, row.values()) for row in rows))
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    if unfinished := [f"- {to_markdown(_unfinished(run))}" for run in compared if not run.finished]:
        parts.append("\n".join(unfinished))
    return "\n\n".join(parts)


def _table(dataset: str, compared: list[ComparedRun]) -> Table:
    other = ": from scikit-learn, not MNIST" if dataset == "digits" else ""
    table = Table(
        title=Text(escaped(f"Test accuracy (%) on {dataset}{other}")),
        box=SIMPLE_HEAD,
        title_justify="left",
        title_style="bold",
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("network\nrecipe", overflow="fold")
    for _, _, heading in _COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    for run in compared:
        cells = run.cells()
        cells["seconds"] += " s"
        texts = [_two_lines(cells[first], cells[second] if second else "") for first, second, _ in _COLUMNS]
        texts[3].stylize(_style(run))
        table.add_row(_two_lines(cells["network"], cells["recipe"]), *texts)
    return table


def _two_lines(first: str, second: str) -> Text:
    return Text.assemble(escaped(first), "\n", (escaped(second), "dim"))


def _style(run: ComparedRun) -> str:
    # Differences within two standard errors of a difference of two runs are not coloured.
    if run.difference is None or abs(run.difference) < 0.2:
        return ""
    return "green" if run.difference > 0 else "red"


def _unfinished(run: ComparedRun) -> str:
    so_far = f", test accuracy {run.test_accuracies[-1]:.2f} % so far" if run.test_accuracies else ""
    return (
        f"Unfinished: {run.name}, {run.dataset}, seed {run.seed}: "
        f"{run.epochs} of {counted(run.recipe_epochs, 'epoch')}{so_far}"
    )


def _notes(finished: Sequence[ComparedRun]) -> list[str]:
    notes = []
    if finished:
        notes.append(
            "Best: highest test accuracy of any epoch; selected: that of the epoch selected by val or test accuracy. "
            "The epoch is in brackets."
        )
    if any(run.published for run in finished):
        notes.append(
            "Second lines: the published figures of the same network and recipe. Points: last-five mean minus the "
            "published one; that of a single run has a standard error of about 0.07."
        )
    if any(run.published and run.select_on == "val" for run in finished):
        notes.append(
            "Selected on val: trained without the held-out images; the published runs trained on all of them."
        )
    if any(run.select_on == "last" for run in finished):
        notes.append("Selected on last: trained on all training images; the last epoch is kept.")
    return notes
