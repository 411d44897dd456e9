"""A training run in the terminal: its setup, a progress bar, a line per epoch, and the results.

A terminal gets a bar that redraws itself; a file or a pipe gets plain lines.
"""

import math
import shlex
import textwrap
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar
from rich.table import Table

from jaxmnist.config import Recipe
from jaxmnist.config.run import RunConfig
from jaxmnist.data import Dataset
from jaxmnist.errors import counted
from jaxmnist.report.terminal import data_phrase, print_facts, print_line, warn_of_digits
from jaxmnist.runs.progress import Progress
from jaxmnist.runs.selection import Results, best_row

PLAIN_SECONDS = 10.0
"""Shortest time between two progress lines if the output is not a terminal."""


class TrainingDisplay:
    """Callback that shows the progress of a run; a context manager."""

    def __init__(self, console: Console, config: RunConfig, rows: Sequence[Mapping[str, Any]] = ()) -> None:
        """Prepares the display.

        Args:
            console: console to print on.
            config: configuration of the run.
            rows: lines of the epochs before this session.
        """
        self.console = console
        self.config = config
        self.epochs = config.recipe.epochs
        self._rows = list(rows)
        self._last_step = 0, math.nan  # number of steps done in the epoch, and when
        self._progress = ProgressBar(
            TextColumn("Epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.completed}/{task.total}  {task.fields[figures]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._last_line = -math.inf  # the first line comes at once and shows that compilation is over

    def __enter__(self) -> "TrainingDisplay":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, progress: Progress) -> None:
        """Shows an event of the run."""
        if progress.kind == "step":
            self._show_step(progress)
        elif progress.row is not None:
            self._print_epoch(progress.row)
        elif progress.kind == "start" and progress.epoch:
            print_line(self.console, f"Resuming after epoch {progress.epoch} of {self.epochs}.")

    def _show_step(self, progress: Progress) -> None:
        epoch, done, total = progress.epoch, progress.done, progress.total
        figures = self.figures(progress)
        if self._task is None:
            self._task = self._progress.add_task("", total=total, epoch=epoch, epochs=self.epochs, figures="")
        self._progress.update(self._task, completed=done, figures=figures)
        waited = time.monotonic() - self._last_line
        if not self.console.is_terminal and waited > PLAIN_SECONDS and done < total:
            self._last_line = time.monotonic()
            print_line(self.console, f"Epoch {epoch}/{self.epochs}  {done}/{total}  {figures}")

    def figures(self, progress: Progress) -> str:
        """Returns loss and accuracy of an epoch so far, and the images per second since the last call."""
        (steps, then), now = self._last_step, time.monotonic()
        self._last_step = progress.done, now
        pace = (progress.done - steps) * self.config.recipe.batch_size / (now - then)
        speed = f"  {pace:,.0f} images/s" if pace > 0 else ""  # not in the first call of an epoch
        return f"loss {progress.loss:.4f}  accuracy {progress.accuracy:.2f} %{speed}"

    def _print_epoch(self, row: Mapping[str, Any]) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
        self._last_line = time.monotonic()
        width = len(str(self.epochs))
        splits = [
            f"{split} loss {row[f'{split}_loss']:.4f}  {row[f'{split}_correct']}/{row[f'{split}_examples']} "
            f"({row[f'{split}_accuracy']:.2f} %)"
            for split in ("val", "test")
            if f"{split}_loss" in row
        ]
        label = f"Epoch {row['epoch']:>{width}}/{self.epochs}  "
        text = (
            f"{label}train loss {row['train_loss']:.4f} "
            f"({row['train_accuracy']:.2f} %)  {'  '.join(splits)}  lr {row['learning_rate']:.3g}  "
            f"{row['seconds']:.1f} s{self._best_so_far(row)}"
            + (f"  at most {row['peak_memory_bytes'] / 1e6:,.0f} MB" if "peak_memory_bytes" in row else "")
            + (f"  {row['skipped_steps']} steps skipped" if "skipped_steps" in row else "")
        )
        lines = [text]
        if self.console.is_terminal:  # which would break the line within a word
            lines = textwrap.wrap(text, self.console.width, subsequent_indent=" " * len(label))
        for line in lines:
            print_line(self.console, line)

    def _best_so_far(self, row: Mapping[str, Any]) -> str:
        """Returns the place of an epoch among those before it; nothing if the last epoch is kept anyway."""
        self._rows.append(row)
        if self.config.select_on == "last":
            return ""
        best = best_row(self.config, self._rows)
        if best is row:
            return "  best so far"
        since = counted(row["epoch"] - best["epoch"], "epoch")
        figure = best[f"{self.config.select_on}_accuracy"]
        return f"  no better for {since}; best {figure:.2f} % in epoch {best['epoch']}"


def held_out(config: RunConfig) -> str:
    """Describes the training images that are held out."""
    if config.val_count is not None:
        return f"the {config.val_count:,} val images that came with the data"
    if config.folds is None:
        return "a twelfth of the training images, held out"
    return f"one of {config.folds} parts of the training images, chosen by the seed, held out"


def recipe_phrase(recipe: Recipe) -> str:
    """Describes a recipe by its name and main settings."""
    return (
        f"{recipe.name}: {counted(recipe.epochs, 'epoch')}, batch {recipe.batch_size}, "
        f"learning rate {recipe.learning_rate:g}"
    )


def print_setup(console: Console, config: RunConfig, dataset: Dataset, place: str, run: Path) -> None:
    """Prints data, recipe, selection, device and folder of a run before it starts."""
    selects = {
        "val": f"{held_out(config)} (val)",
        "test": "the test images",
        "last": "nothing: the last epoch's weights are kept; the test images are read and decide nothing",
    }
    lines = {
        "data": data_phrase(dataset),
        "recipe": f"{recipe_phrase(config.recipe)}, seed {config.seed}",
        "begins with": config.init_from or "",
        "selects": selects[config.select_on],
        "device": place,
        "run folder": str(run),
    }
    print_facts(console, lines)
    console.print()


def print_results(console: Console, results: Results, run: Path) -> None:
    """Prints the final figures of a run and its folder."""
    kept, best = _REMARKS[results.select_on]
    figures = {
        "parameters": f"{results.parameters:,}",
        "best train accuracy": f"{results.best_train_accuracy:.2f} %",
        "train accuracy, last epoch": (
            "" if results.final_train_accuracy is None else f"{results.final_train_accuracy:.2f} %"
        ),
        f"test accuracy of the epoch selected on val (epoch {results.best_epoch})": (
            f"{results.test_accuracy_of_best:.2f} %" if results.select_on == "val" else ""
        ),
        f"test accuracy, last epoch{kept}": f"{results.final_test_accuracy:.2f} %",
        "test accuracy, mean of the last five epochs": (
            f"{results.last_five_mean_test_accuracy:.2f} %" if results.epochs >= 5 else ""
        ),
        f"best test accuracy (epoch {results.best_test_epoch}{best})": f"{results.best_test_accuracy:.2f} %",
        "training time": f"{results.seconds:.1f} s",
        f"stopped after epoch {results.epochs}": results.stopped or "",
        "no epoch met the recipe's checkpoint rule; kept the best of all, epoch": (
            "" if results.rule_met else f"{results.best_epoch}"
        ),
    }
    table = Table(title="Results", box=SIMPLE, show_header=False, title_justify="left", title_style="bold")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for figure, value in figures.items():
        if value:
            table.add_row(figure, value)
    console.print(table)
    warn_of_digits(console, results.dataset)
    print_line(console, f"Run folder: {run}")
    console.print("Next:")
    for command in ("report", "evaluate", "demo"):
        print_line(console, f"  jaxmnist {command} {shlex.quote(str(run))}")


_REMARKS = {
    "val": ("", ""),
    "test": ("", ", selected on the test images: the published protocol"),
    "last": (" (whose weights are kept; nothing was selected)", ", for the record: it decided nothing"),
}
"""Remarks on the last and on the best epoch, by the selecting split."""
