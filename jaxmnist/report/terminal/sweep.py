"""A sweep in the terminal: a bar for the whole, one for each seed in progress, and the table of its members."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import TaskID
from rich.table import Table

from jaxmnist.report.terminal import print_warning_box
from jaxmnist.report.terminal.study import SeedBars, progress_bars
from jaxmnist.report.terminal.training import held_out

MOST_ROWS = 20
"""Members in the table; `results.jsonl` has all."""

_WIDE = 4  # axes that have a column each; of more, the members' names tell


class SweepDisplay:
    """Shows how a sweep goes; use it as a context manager."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress = progress_bars(console)
        self._all: TaskID | None = None
        self._done = self._jobs = 0

    def __enter__(self) -> "SweepDisplay":
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def begin(self, what: str, jobs: int, done: int) -> None:
        """A rung, or the whole: so many trainings, some of which are done."""
        self._jobs, self._done = jobs, done
        if self._all is not None:
            self.progress.remove_task(self._all)
        self._all = self.progress.add_task(what, total=jobs, completed=done, at=f"{done}/{jobs} trained")

    def seed_bars(self, member: str, epochs: int) -> SeedBars:
        """Makes a callback with bars for a member's seeds."""
        return SeedBars(self.progress, epochs, f"{member}  ")

    def finished(self, member: str, seed: int, outcome: str) -> None:
        """A training is finished: a line, and the bar."""
        self._done += 1
        if self._all is not None:
            self.progress.update(self._all, completed=self._done, at=f"{self._done}/{self._jobs} trained")
        _line(self.console, f"{self._done:>4}/{self._jobs}  {member}  seed {seed}  {outcome}")


def print_sweep_setup(
    console: Console, sweep: Any, dataset: Any, device: Any, shard: str | None, members: int
) -> None:
    """What is about to be tried, and on what (`jaxmnist.experiments.sweep.folder.Sweep`, ...)."""
    plan, base = sweep.plan, sweep.base
    judged = {
        "val": f"val, {held_out(base)}; figures of the test images are not shown",
        "test": "the test images: the best of many on them is better there than elsewhere",
        "last": "the test images: the best of many on them is better there than elsewhere",
    }
    chosen = {
        "grid": f"{members}, all combinations",
        "random": f"{members} at random, from --sweep-seed {plan.sweep_seed}",
        "optuna": f"{members}, chosen by Optuna's TPE from --sweep-seed {plan.sweep_seed}",
    }
    lines = {
        "data": f"{dataset.name} from {dataset.source}",
        "archs": ", ".join(sweep.bases),
        "recipe": f"{base.recipe.name}: {base.recipe.epochs} epochs, batch {base.recipe.batch_size}, "
        f"learning rate {base.recipe.learning_rate:g}",
        "over": "  ".join(plan.over),
        "members": chosen[plan.method] + (f"; of these {shard}" if shard else ""),
        "seeds": f"{plan.seeds} each, from {plan.first_seed} on",
        "epochs": ", ".join(f"{rung.epochs} for {rung.members} members" for rung in sweep.rungs),
        "ranked on": judged[base.select_on],
        "device": f"{device.platform}: {device.device_kind}",
        "folder": str(sweep.folder),
    }
    for name, value in lines.items():
        if value:
            _line(console, f"{name:<11}{value}")
    console.print()


def print_sweep(
    console: Console,
    figures: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    folder: Path,
    files: Sequence[Path],
) -> None:
    """The table of a sweep (`summary.json`, the lines of `results.jsonl`), and where it lies."""
    split, fields = figures["split"], list(rows[0]["values"]) if rows else []
    count = figures["members"]
    table = Table(
        title=f"{count} member{'s' * (count > 1)} ({figures['method']}), {figures['dataset']}: mean {split} accuracy "
        "of the last epoch",
        box=SIMPLE_HEAD,
        title_justify="left",
        title_style="bold",
    )
    shown = [] if len(fields) > _WIDE else fields
    has_epochs = len({row["epochs"] for row in rows}) > 1
    headings = ["member", *(field.rpartition(".")[2] for field in shown), *["epochs"] * has_epochs]
    for heading in (*headings, "seeds", f"{split} (%)", "\N{PLUS-MINUS SIGN}", "s"):
        table.add_column(heading, justify="left" if heading == "member" else "right", no_wrap=True)
    for row in rows[:MOST_ROWS]:
        cells = [
            f"{row['number']:03d}" if shown else row["member"],
            *(_shown(row["values"][field]) for field in shown),
            *[str(row["epochs"])] * has_epochs,
            str(len(row["seeds"]) + len(row["diverged"])),
            *_accuracy(row),
            f"{row['seconds']:.1f}",
        ]
        table.add_row(*map(escape, cells))
    console.print(table)
    if len(rows) > MOST_ROWS:
        console.print(f"{len(rows) - MOST_ROWS} more are in results.jsonl.", highlight=False)
    if any(len(row["seeds"]) > 1 for row in rows):
        console.print(
            "\N{PLUS-MINUS SIGN} is half of the mean's 95 % interval, Student's t over seeds, on these images.",
            highlight=False,
        )
    if missing := figures["members"] - figures["members_begun"]:
        console.print(f"Nothing finished yet of {missing} member{'s' * (missing > 1)}.", highlight=False)
    if figures["best"] is not None:
        best = figures["best"]
        study, out = folder / best["study"] / "study.json", folder / f"{best['member']}-again"
        _line(
            console,
            f"The best of {len(rows)} owes some of its lead to chance. To see what it is worth, train other seeds:\n"
            f"  study --config {study} --first-seed 1001 --seeds 10 --out {out}",
        )
    if figures["dataset"] == "digits":
        print_warning_box(console, "These figures are for scikit-learn's digits. This is not MNIST.")
    for file in files:
        _line(console, f"Written: {file}")


def _accuracy(row: Mapping[str, Any]) -> tuple[str, str]:
    last = row["last_epoch"]
    if last is None:
        return "diverged", f"s{', s'.join(map(str, row['diverged']))}"
    return f"{last['mean']:.3f}", "-" if last["low"] is None else f"{last['high'] - last['mean']:.3f}"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _line(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
