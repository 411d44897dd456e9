"""A study in the terminal: bars and a line per seed while it trains, then its statistics."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE, SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar
from rich.table import Table

from jaxmnist.data import Dataset
from jaxmnist.experiments.study.folder import SeedResult, Study
from jaxmnist.experiments.study.pace import Pace
from jaxmnist.models import arch_title
from jaxmnist.report.terminal import (
    data_phrase,
    name_cell,
    print_facts,
    print_files,
    print_line,
    warn_of_digits,
)
from jaxmnist.report.terminal.training import held_out, recipe_phrase
from jaxmnist.runs.progress import Callback, Progress

_QUESTIONS = {
    "between_seeds": "seeds, Welch's t: would other seeds differ, too?",
    "by_seed": "seeds in {} pairs, paired t: the same, seed by seed",
    "over_images": "images ({} classified differently), permutation: would other images differ, too?",
}


def progress_bars(console: Console) -> ProgressBar:
    """Makes bars that disappear at the end; the field `at` of a task describes its position."""
    return ProgressBar(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[at]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def seed_bars(bars: ProgressBar, epochs: int, prefix: str = "") -> Callback:
    """Makes a callback that shows a bar for every seed in progress.

    Args:
        bars: made by `progress_bars`.
        epochs: number of epochs of a seed.
        prefix: text before each seed.
    """
    tasks: dict[int, TaskID] = {}

    def show(progress: Progress) -> None:
        seed, epoch = progress.seed, progress.epoch
        if progress.kind in ("step", "epoch"):
            at = f"epoch {epoch}/{epochs}"
            if seed not in tasks:
                tasks[seed] = bars.add_task(f"{prefix}seed {seed}", total=epochs, at=at)
            bars.update(tasks[seed], completed=epoch - 1 + progress.done / progress.total, at=at)
        elif progress.kind == "finished" and seed in tasks:
            bars.remove_task(tasks.pop(seed))

    return show


def print_study_setup(
    console: Console, study: Study, dataset: Dataset, place: str, finished: Sequence[int]
) -> None:
    """Prints the training to repeat, its data, and the seeds that are finished already."""
    config = study.config
    judged = {
        "val": f"val, {held_out(config)}; figures of the test images are not shown",
        "test": "the test images, on which each run also picks its best epoch: the published protocol",
        "last": "the test images, read in the last epoch; nothing is selected",
    }
    facts = {
        "data": data_phrase(dataset),
        "recipe": recipe_phrase(config.recipe),
        "judged on": judged[config.select_on],
        "device": place,
        "folder": str(study.folder),
        "finished": ", ".join(f"seed {seed}" for seed in finished),
    }
    print_facts(console, facts)
    console.print()


def print_paces(console: Console, paces: Sequence[Pace], chosen: Pace) -> None:
    """Prints what was measured to choose the number of seeds that train at once."""
    measured = ", ".join(f"{pace.processes} at once: {pace.steps:.0f}" for pace in paces)
    print_line(console, f"seeds at once: {chosen.processes}; steps a second with {measured}")


def print_seed(console: Console, result: SeedResult, figures: Mapping[str, Any]) -> None:
    """Prints a finished seed, and the mean of all so far (from `summary.json`)."""
    last = figures["last_epoch"]
    spread = "" if last["standard_deviation"] is None else f" (sd {last['standard_deviation']:.3f})"
    print_line(
        console,
        f"seed {result.seed:<4} {figures['split']} last epoch {result.last:.2f} %  last five {result.last_five:.2f} %  "
        f"{result.seconds:.1f} s   mean of {last['count']}: {last['mean']:.3f} %{spread}",
    )


def print_study(console: Console, figures: Mapping[str, Any], files: Sequence[Path]) -> None:
    """Prints the statistics of a study (`summary.json`), and the files written."""
    split, count = figures["split"], len(figures["seeds"])
    table = Table(
        title=f"{arch_title(figures['arch'])}, recipe {figures['recipe']}, {figures['dataset']}: {count} "
        f"seed{'s' * (count > 1)}, {figures['parameters']:,} parameters",
        box=SIMPLE_HEAD,
        title_justify="left",
        title_style="bold",
    )
    table.add_column(f"{split} accuracy (%)", no_wrap=True)
    for heading in ("mean", "95 % interval", "sd", "lowest", "highest"):
        table.add_column(heading, justify="right", no_wrap=True)
    names = {
        "last_epoch": "last epoch",
        "plain_last_epoch": "last epoch, plain",
        "last_five_mean": "last five, mean",
    }
    for key, name in names.items():
        if figures[key] is not None:
            table.add_row(name, *_cells(figures[key], 3))
    mean, _, *rest = _cells(figures["seconds_per_seed"], 1)
    table.add_row("seconds per seed", mean, "", *rest)
    console.print(table)
    settled = round(figures["share_settled"] * count)
    console.print(
        f"Last five epochs all at least {figures['threshold']:g} %: {settled} of {count} seeds. "
        "Intervals of the mean are Student's t over seeds, "
        + ("each judged on its own part of the images." if figures["folds"] else "on these images.")
        + (" Plain: without the averaging of weights." if figures["plain_last_epoch"] else ""),
        highlight=False,
    )
    warn_of_digits(console, figures["dataset"])
    print_files(console, files)


def print_comparison(console: Console, compared: Mapping[str, Any], files: Sequence[Path]) -> None:
    """Prints studies beside the first one (from `compare_studies`), for two of them all tests; then the files."""
    table = Table(
        title=f"{compared['split']} accuracy of the last epoch (%)",
        box=SIMPLE_HEAD,
        title_justify="left",
        title_style="bold",
    )
    table.add_column("study", overflow="fold")
    for heading in ("seeds", "mean", "loss", "minus the first", "p"):
        table.add_column(heading, justify="right", no_wrap=True)
    for study in compared["studies"]:
        loss, difference = study["last_loss"], study["difference"]
        table.add_row(
            name_cell(Path(study["study"]).name),
            str(len(study["seeds"])),
            _with_half(study["last_epoch"], ".3f"),
            "-" if loss is None else f"{loss['mean']:.4f}",
            *(("", "") if difference is None else (_with_half(difference, "+.3f"), _p_value(difference))),
        )
    console.print(table)
    if len(compared["studies"]) == 2:
        console.print(_tests_table(compared["studies"][1]["differences"]))
    differences = "the paired one over common seeds" if compared["paired"] else "Welch's"
    console.print(
        f"After each mean half of its 95 % interval over seeds: Student's t, for differences {differences}. Each "
        "stands alone: of twenty differences one is expected to look real by chance.",
        highlight=False,
    )
    print_files(console, files)


def _tests_table(differences: Mapping[str, Any]) -> Table:
    table = Table(box=SIMPLE)
    table.add_column("second minus first, by")
    for heading in ("points", "95 % interval", "p"):
        table.add_column(heading, justify="right")
    for key, found in differences.items():
        interval = "-" if found["low"] is None else f"{found['low']:+.3f} to {found['high']:+.3f}"
        question = _QUESTIONS[key].format(found["count"])
        table.add_row(question, f"{found['mean']:+.3f}", interval, _p_value(found))
    return table


def _with_half(found: Mapping[str, Any], form: str) -> str:
    half = "" if found["high"] is None else f" ± {found['high'] - found['mean']:.3f}"
    return f"{found['mean']:{form}}{half}"


def _p_value(found: Mapping[str, Any]) -> str:
    return "-" if found["p_value"] is None else f"{found['p_value']:.2g}"


def _cells(summary: Mapping[str, Any], digits: int) -> list[str]:
    mean, spread, low, high = (
        "-" if summary[key] is None else f"{summary[key]:.{digits}f}"
        for key in ("mean", "standard_deviation", "low", "high")
    )
    extremes = (f"{summary[key]:.{min(digits, 2)}f}" for key in ("minimum", "maximum"))
    return [mean, "-" if low == "-" else f"{low} to {high}", spread, *extremes]
