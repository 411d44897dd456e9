"""Runs beside each other and beside the published ones, in the terminal; 80 columns do. And as Markdown."""

import itertools
from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxmnist.runs.compare import ComparedRun

_NONE = "-"


def print_comparison(console: Console, compared: Sequence[ComparedRun]) -> None:
    """A table for each dataset, every run above the published one; then the unfinished runs and where they lie."""
    for dataset, group in itertools.groupby(
        (run for run in compared if run.finished), lambda run: run.dataset
    ):
        console.print(_table(dataset, list(group)))
    for run in compared:
        if not run.finished:
            line = f"{_unfinished(run)}\n  in {run.run}"
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    for line in _notes(compared):
        console.print(line, highlight=False, markup=False)


def print_files(console: Console, files: Sequence[Path]) -> None:
    """The files that were written, a line each."""
    for file in files:
        console.print(f"Written: {file}", highlight=False, markup=False, soft_wrap=True)


def markdown_table(compared: Sequence[ComparedRun]) -> str:
    """The finished runs as a Markdown table, a line each; then a list of the unfinished ones."""
    columns = {
        "network": "---",
        "recipe": "---",
        "dataset": "---",
        "seed": "---:",
        "parameters": "---:",
        "last-five mean": "---:",
        "published": "---:",
        "points": "---:",
        "best test (epoch)": "---:",
        "published best": "---:",
        "selected (epoch)": "---:",
        "selected on": "---",
        "seconds": "---:",
    }
    rows = [_markdown_cells(run) for run in compared if run.finished]
    lines = [f"| {' | '.join(cells)} |" for cells in (tuple(columns), tuple(columns.values()), *rows)]
    unfinished = [f"- {_unfinished(run)}" for run in compared if not run.finished]
    return "\n".join([*(lines if rows else []), *([""] if rows and unfinished else []), *unfinished])


def _table(dataset: str, compared: list[ComparedRun]) -> Table:
    other = ": scikit-learn's, this is not MNIST" if dataset == "digits" else ""
    table = Table(
        title=f"Test accuracy (%) on {dataset}{other}",
        box=SIMPLE_HEAD,
        title_justify="left",
        title_style="bold",
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("network\nrecipe", overflow="fold")
    headings = ("last five\npublished", "points", "best\npublished", "selected\non")
    for heading in ("seed", "params\nseconds", *headings):
        table.add_column(heading, justify="right", no_wrap=True)
    for run in compared:
        theirs = run.published
        table.add_row(
            _two_lines(run.arch, run.recipe),
            str(run.seed),
            Text(f"{_count(run.parameters)}\n{run.seconds:,.0f} s"),
            _two_lines(
                _accuracy(run.last_five_mean_test_accuracy), _accuracy(theirs and theirs.last_five_mean)
            ),
            Text(_difference(run), style=_style(run)),
            _two_lines(
                _accuracy(run.best_test_accuracy, run.best_test_epoch),
                _accuracy(theirs and theirs.best_test_accuracy, theirs and theirs.best_test_epoch),
            ),
            _two_lines(_accuracy(run.test_accuracy_of_best, run.best_epoch), run.select_on),
        )
    return table


def _markdown_cells(run: ComparedRun) -> tuple[str, ...]:
    theirs = run.published
    return (
        run.arch,
        run.recipe,
        run.dataset,
        str(run.seed),
        _count(run.parameters),
        _accuracy(run.last_five_mean_test_accuracy),
        _accuracy(theirs and theirs.last_five_mean),
        _difference(run),
        _accuracy(run.best_test_accuracy, run.best_test_epoch),
        _accuracy(theirs and theirs.best_test_accuracy, theirs and theirs.best_test_epoch),
        _accuracy(run.test_accuracy_of_best, run.best_epoch),
        run.select_on,
        f"{run.seconds:,.0f}",
    )


def _unfinished(run: ComparedRun) -> str:
    so_far = f", test accuracy {run.test_accuracies[-1]:.2f} % so far" if run.test_accuracies else ""
    return (
        f"Unfinished: {run.name}, {run.dataset}, seed {run.seed}: "
        f"{run.epochs} of {run.recipe_epochs} epochs{so_far}"
    )


def _notes(compared: Sequence[ComparedRun]) -> list[str]:
    finished = [run for run in compared if run.finished]
    if not finished:
        return []
    notes = [
        "Best: of all epochs, by test accuracy; selected: the epoch picked on test or val. In brackets: which."
    ]
    if any(run.published for run in finished):
        notes.append(
            "Second lines: what was published for network and recipe. Points: last-five mean minus the published "
            "one; a single run has a standard error of about 0.07."
        )
    if any(run.published and run.select_on == "val" for run in finished):
        notes.append("Selected on val: trained without the held-out images; the published runs had them all.")
    if any(run.select_on == "last" for run in finished):
        notes.append(
            "Selected on last: trained on all training images, the last epoch kept, nothing selected."
        )
    return notes


def _two_lines(ours: str, below: str) -> Text:
    return Text.assemble(ours, "\n", (below, "dim"))


def _accuracy(value: float | None, epoch: int | None = None) -> str:
    if value is None:
        return _NONE
    return f"{value:.2f}" if epoch is None else f"{value:.2f} ({epoch})"


def _difference(run: ComparedRun) -> str:
    theirs = run.published and run.published.last_five_mean
    ours = run.last_five_mean_test_accuracy
    # Of the rounded means, so that the line adds up.
    return _NONE if ours is None or theirs is None else f"{round(ours, 2) - round(theirs, 2):+.2f}"


def _style(run: ComparedRun) -> str:
    # Within two standard errors of the difference of two runs nothing is said.
    if run.difference is None or abs(run.difference) < 0.2:
        return ""
    return "green" if run.difference > 0 else "red"


def _count(value: int | None) -> str:
    return _NONE if value is None else f"{value:,}"
