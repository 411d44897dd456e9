"""A sweep in the terminal: bars and a line per training, then the table of its members."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress as ProgressBar
from rich.progress import TaskID
from rich.table import Table

from jaxmnist.data import Dataset
from jaxmnist.errors import JaxmnistWarning, counted
from jaxmnist.experiments.study.folder import Study
from jaxmnist.experiments.sweep.folder import Sweep
from jaxmnist.experiments.sweep.members import Member, value_text
from jaxmnist.experiments.sweep.table import read_member, read_results, write_table
from jaxmnist.models import arch_title
from jaxmnist.report.terminal import (
    data_phrase,
    name_cell,
    print_facts,
    print_files,
    print_line,
    warn_of_digits,
)
from jaxmnist.report.terminal.study import seed_bars
from jaxmnist.report.terminal.training import held_out, recipe_phrase
from jaxmnist.runs.progress import Callback, Progress
from jaxmnist.runtime.devices import Device
from jaxmnist.runtime.mesh import where_text

MOST_ROWS = 20
"""Most members in the table; `results.jsonl` has all."""

_WIDE = 4  # most axes with a column each; with more, the members' names show the values


class SweepDisplay:
    """Shows the progress of a sweep, and keeps its table up to date."""

    def __init__(self, console: Console, bars: ProgressBar, sweep: Sweep) -> None:
        self._console, self._bars, self._sweep = console, bars, sweep
        self._results = {result.member.number: result for result in read_results(sweep)}
        self._all: TaskID | None = None
        self._done = self._jobs = 0

    def begin(self, rung: int, members: int, jobs: int, done: int) -> None:
        """Shows the start of a rung, as `jaxmnist.experiments.sweep.loop.OnRung`."""
        self._jobs, self._done = jobs, done
        if self._all is not None:
            self._bars.remove_task(self._all)
        rungs = len(self._sweep.rungs)
        name = f"rung {rung + 1} of {rungs}, {members} members" if rungs else "sweep"
        self._all = self._bars.add_task(name, total=jobs, completed=done, at=f"{done}/{jobs} trained")

    def callback(self, member: Member, rung: int, study: Study) -> Callback:
        """Makes the callback for the seeds of a member."""
        show = seed_bars(self._bars, study.config.recipe.epochs, f"{member.name}  ")

        def follow(progress: Progress) -> None:
            show(progress)
            if progress.kind == "finished":
                self._record(member, rung, progress.seed)

        return follow

    def _record(self, member: Member, rung: int, seed: int) -> None:
        result = read_member(self._sweep, member, rung)
        assert result is not None
        self._results[member.number] = result
        outcome = "diverged"
        for found in result.seeds:
            if found.seed == seed:
                outcome = f"{self._sweep.split} last epoch {found.last:.2f} %  {found.seconds:.1f} s"
        self._done += 1
        if self._all is not None:
            at = f"{self._done}/{self._jobs} trained"
            self._bars.update(self._all, completed=self._done, at=at)
        print_line(self._console, f"{self._done:>4}/{self._jobs}  {member.name}  seed {seed}  {outcome}")
        try:
            write_table(self._sweep, sorted(self._results.values(), key=lambda one: one.order))
        except OSError as error:
            folder = self._sweep.folder
            message = f"the results of {folder} cannot be written ({error.strerror}); training goes on."
            warnings.warn(message, JaxmnistWarning, stacklevel=2)


def print_sweep_setup(
    console: Console, sweep: Sweep, dataset: Dataset, device: Device, shard: str | None, members: int
) -> None:
    """Prints the members to train, their data and their ranking.

    Args:
        console: the terminal.
        sweep: the sweep.
        dataset: its data.
        device: the device to train on.
        shard: the shard to train, as I/N.
        members: number of members, including those that Optuna is still to choose.
    """
    plan, base = sweep.plan, sweep.base
    on_test = "the test images: the accuracy of the best member there is higher than elsewhere"
    chosen = {
        "grid": f"{members}, all combinations",
        "random": f"{members} at random, from --sweep-seed {plan.sweep_seed}",
        "optuna": f"{members}, chosen by Optuna's TPE from --sweep-seed {plan.sweep_seed}",
    }
    facts = {
        "data": data_phrase(dataset),
        "archs": ", ".join(map(arch_title, sweep.bases)),
        "recipe": recipe_phrase(base.recipe),
        "over": "  ".join(plan.over),
        "members": chosen[plan.method] + (f"; this shard {shard}" if shard else ""),
        "seeds": f"{plan.seeds} each, from {plan.first_seed} on",
        "epochs": ", ".join(f"{rung.epochs} for {rung.members} members" for rung in sweep.rungs),
        "ranked on": f"val, {held_out(base)}; figures of the test images are not shown"
        if sweep.split == "val"
        else on_test,
        "device": where_text(device),
        "folder": str(sweep.folder),
    }
    print_facts(console, facts)
    console.print()


def print_sweep(
    console: Console,
    figures: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    folder: Path,
    files: Sequence[Path],
) -> None:
    """Prints the table of a sweep.

    Args:
        console: the terminal.
        figures: contents of `summary.json`.
        rows: lines of `results.jsonl`.
        folder: the sweep's folder.
        files: the files written.
    """
    split, count = figures["split"], figures["members"]
    fields = list(rows[0]["values"]) if rows else []
    table = Table(
        title=f"{count} member{'s' * (count > 1)} ({figures['method']}), {figures['dataset']}: mean {split} accuracy "
        "of the last epoch",
        box=SIMPLE_HEAD,
        title_justify="left",
        title_style="bold",
    )
    shown = [] if len(fields) > _WIDE else fields
    has_epochs = len({row["epochs"] for row in rows}) > 1
    table.add_column("member", no_wrap=True)
    headings = (*(field.rpartition(".")[2] for field in shown), *["epochs"] * has_epochs)
    for heading in (*headings, "seeds", f"{split} (%)", "\N{PLUS-MINUS SIGN}", "s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows[:MOST_ROWS]:
        values = (row["values"][field] for field in shown)
        cells = [
            f"{row['number']:03d}" if shown else row["member"],
            *map(value_text, values),
            *[str(row["epochs"])] * has_epochs,
            str(len(row["seeds"]) + len(row["diverged"])),
            *_accuracy(row),
            f"{row['seconds']:.1f}",
        ]
        table.add_row(*map(name_cell, cells))
    console.print(table)
    if len(rows) > MOST_ROWS:
        print_line(console, f"{len(rows) - MOST_ROWS} more are in results.jsonl.")
    if any(len(row["seeds"]) > 1 for row in rows):
        print_line(
            console,
            "\N{PLUS-MINUS SIGN} is half of the mean's 95 % interval, Student's t over seeds, on these images.",
        )
    if missing := count - figures["members_begun"]:
        print_line(console, f"{counted(missing, 'member')} without a finished seed.")
    if figures["best"] is not None:
        best = figures["best"]
        study, out = folder / best["study"] / "study.json", folder / f"{best['member']}-again"
        print_line(
            console,
            f"The best of {len(rows)} owes some of its lead to chance. For a fair figure train other seeds:",
        )
        print_line(console, f"  study --config {study} --first-seed 1001 --seeds 10 --out {out}")
    warn_of_digits(console, figures["dataset"])
    print_files(console, files)


def _accuracy(row: Mapping[str, Any]) -> tuple[str, str]:
    last = row["last_epoch"]
    if last is None:
        return "diverged", f"s{', s'.join(map(str, row['diverged']))}"
    return f"{last['mean']:.3f}", "-" if last["low"] is None else f"{last['high'] - last['mean']:.3f}"
