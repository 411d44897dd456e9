"""A study in the terminal: a line per seed while it goes, and its statistics."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE, SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar
from rich.table import Table

from jaxmnist.report.terminal import print_warning_box
from jaxmnist.report.terminal.training import held_out
from jaxmnist.runs.progress import Progress


class StudyDisplay:
    """Callback that shows the seeds in progress; a context manager."""

    def __init__(self, console: Console, epochs: int) -> None:
        self.console = console
        self._progress = progress_bars(console)
        self._bars = SeedBars(self._progress, epochs)

    def __enter__(self) -> "StudyDisplay":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, progress: Progress) -> None:
        """Shows a moment of a seed."""
        self._bars(progress)


class SeedBars:
    """Callback with a bar for every seed in progress."""

    def __init__(self, bars: ProgressBar, epochs: int, prefix: str = "") -> None:
        """Shows nothing yet.

        Args:
            bars: made by `progress_bars`.
            epochs: of a seed.
            prefix: what stands before each seed.
        """
        self._bars, self._epochs, self._prefix = bars, epochs, prefix
        self._tasks: dict[int, TaskID] = {}

    def __call__(self, progress: Progress) -> None:
        """Shows a moment of a seed."""
        seed, epoch = progress.seed, progress.epoch
        if progress.kind == "finished":
            if seed in self._tasks:
                self._bars.remove_task(self._tasks.pop(seed))
        elif progress.kind != "start":
            at = f"epoch {epoch}/{self._epochs}"
            if seed not in self._tasks:
                name = f"{self._prefix}seed {seed}"
                self._tasks[seed] = self._bars.add_task(name, total=self._epochs, at=at)
            completed = epoch - 1 + progress.done / progress.total
            self._bars.update(self._tasks[seed], completed=completed, at=at)


def progress_bars(console: Console) -> ProgressBar:
    """Bars that go when they are done; each task says in its field `at` where it is."""
    return ProgressBar(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[at]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def print_study_setup(
    console: Console,
    config: Any,
    dataset: Any,
    place: str,
    folder: Path,
    split: str,
    finished: Sequence[int],
) -> None:
    """What is about to be repeated, on what, and what of it is done (`jaxmnist.config.run.RunConfig`, ...)."""
    recipe = config.recipe
    judged = {
        "val": f"val, {held_out(config)}; figures of the test images are not shown",
        "test": "the test images, on which each run also picks its best epoch: the published protocol",
        "last": "the test images, read in the last epoch; nothing is selected",
    }
    lines = {
        "data": f"{dataset.name} from {dataset.source}",
        "recipe": f"{recipe.name}: {recipe.epochs} epochs, batch {recipe.batch_size}, "
        f"learning rate {recipe.learning_rate:g}",
        "judged on": judged[config.select_on],
        "device": place,
        "folder": str(folder),
    }
    if finished:
        lines["finished"] = f"seed{'s' * (len(finished) > 1)} {', '.join(map(str, finished))}"
    for name, value in lines.items():
        console.print(f"{name:<11}{value}", highlight=False, markup=False, soft_wrap=True)
    console.print()


def print_seed(console: Console, result: Any, split: str, figures: Mapping[str, Any]) -> None:
    """A finished seed (`jaxmnist.experiments.study.folder.SeedResult`), and the mean of all so far (`summary.json`)."""
    last = figures["last_epoch"]
    spread = "" if last["standard_deviation"] is None else f" (sd {last['standard_deviation']:.3f})"
    console.print(
        f"seed {result.seed:<4} {split} last epoch {result.last:.2f} %  last five {result.last_five:.2f} %  "
        f"{result.seconds:.1f} s   mean of {last['count']}: {last['mean']:.3f} %{spread}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def print_study(console: Console, figures: Mapping[str, Any], files: Sequence[Path]) -> None:
    """The statistics of a study (`summary.json`), and where they lie."""
    split, count = figures["split"], len(figures["seeds"])
    table = Table(
        title=f"{figures['arch']}, recipe {figures['recipe']}, {figures['dataset']}: {count} "
        f"seed{'s' * (count > 1)}, {figures['parameters']:,} parameters",
        box=SIMPLE_HEAD,
        title_justify="left",
        title_style="bold",
    )
    for heading in (f"{split} accuracy (%)", "mean", "95 % interval", "sd", "lowest", "highest"):
        table.add_column(heading, justify="left" if heading.endswith("(%)") else "right", no_wrap=True)
    names = {"last_epoch": "last epoch", "plain_last_epoch": "last epoch, plain"}
    for key, name in (names | {"last_five_mean": "last five, mean"}).items():
        if figures[key] is not None:
            table.add_row(name, *_cells(figures[key], 3))
    mean, _, *rest = _cells(figures["seconds_per_seed"], 1)
    table.add_row("seconds per seed", mean, "", *rest)
    console.print(table)
    settled = round(figures["share_settled"] * count)
    console.print(
        f"Last five epochs all at least {figures['threshold']:g} %: {settled} of {count} seeds. "
        "Intervals of the mean are Student's t over seeds, "
        + ("each judged by its own part of the images." if figures["folds"] else "on these images.")
        + (" Plain: without the averaging of weights." if figures["plain_last_epoch"] else ""),
        highlight=False,
    )
    if figures["dataset"] == "digits":
        print_warning_box(console, "These figures are for scikit-learn's digits. This is not MNIST.")
    for file in files:
        console.print(f"Written: {file}", highlight=False, markup=False, soft_wrap=True)


def print_difference(console: Console, compared: Mapping[str, Any]) -> None:
    """What `jaxmnist.experiments.study.compare.compare_studies` gives."""
    for name, study in zip(("A", "B"), compared["studies"], strict=True):
        last = study["last_epoch"]
        console.print(
            f"{name}  {study['study']}: {len(study['seeds'])} seeds, {compared['split']} accuracy of the last epoch "
            f"{last['mean']:.3f} %",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    table = Table(box=SIMPLE)
    for heading in ("A minus B, by", "points", "95 % interval", "p"):
        table.add_column(heading, justify="left" if heading.startswith("A") else "right")
    for key, name in _QUESTIONS.items():
        found = compared["differences"][key]
        if found is None:
            continue
        interval = "-" if found["low"] is None else f"{found['low']:+.3f} to {found['high']:+.3f}"
        table.add_row(name.format(found["count"]), f"{found['mean']:+.3f}", interval, _p_value(found))
    console.print(table)


def print_against_first(console: Console, compared: Mapping[str, Any], files: Sequence[Path]) -> None:
    """What `jaxmnist.experiments.study.compare.compare_with_first` gives, and where it lies."""
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
            Path(study["study"]).name,
            str(len(study["seeds"])),
            _with_half(study["last_epoch"], ".3f"),
            "-" if loss is None else f"{loss['mean']:.4f}",
            *(("", "") if difference is None else (_with_half(difference, "+.3f"), _p_value(difference))),
        )
    console.print(table)
    differences = "the paired one over common seeds" if compared["paired"] else "Welch's"
    console.print(
        f"After each mean half of its 95 % interval over seeds: Student's t, for differences {differences}. Each "
        "stands alone: of twenty differences one is expected to look real by chance.",
        highlight=False,
    )
    for file in files:
        console.print(f"Written: {file}", highlight=False, markup=False, soft_wrap=True)


_QUESTIONS = {
    "between_seeds": "seeds, Welch's t: would other seeds differ, too?",
    "by_seed": "seeds in {} pairs, paired t: the same, seed by seed",
    "over_images": "images ({} answered differently), random signs: would other images show it, too?",
}


def _with_half(found: Mapping[str, Any], form: str) -> str:
    half = "" if found["high"] is None else f" ± {found['high'] - found['mean']:.3f}"
    return f"{found['mean']:{form}}{half}"


def _p_value(found: Mapping[str, Any]) -> str:
    return "-" if found["p_value"] is None else f"{found['p_value']:.2g}"


def _cells(summary: Mapping[str, Any], digits: int) -> list[str]:
    def cell(value: float | None) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    interval = "-" if summary["low"] is None else f"{cell(summary['low'])} to {cell(summary['high'])}"
    spread = cell(summary["standard_deviation"])
    return [
        cell(summary["mean"]),
        interval,
        spread,
        *(f"{summary[key]:.{min(digits, 2)}f}" for key in ("minimum", "maximum")),
    ]
