"""A learning-rate range test (`jaxmnist.experiments.lr_range`): its progress in the terminal, and its picture."""

import math
import time
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from jaxmnist.report.terminal import print_warning_box
from jaxmnist.report.terminal.training import PLAIN_SECONDS
from jaxmnist.runs.curves import save_figure


class RangeDisplay:
    """Prints what `jaxmnist.experiments.lr_range.find_learning_rate` reports; use it as a context manager."""

    def __init__(self, console: Console, steps: int) -> None:
        self.console = console
        self.steps = steps
        self._progress = Progress(
            TextColumn("Range test"),
            BarColumn(bar_width=None),
            TextColumn("{task.completed}/{task.total}  {task.description}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=steps)
        self._last_line = -math.inf  # the first line comes at once: it tells that all is compiled

    def __enter__(self) -> "RangeDisplay":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, result: Any) -> None:
        taken = len(result.losses)
        if not taken:
            return
        figures = f"lr {result.rates[-1]:.3g}  smoothed loss {result.smoothed[-1]:.4f}"
        self._progress.update(self._task, completed=taken, description=figures)
        if not self.console.is_terminal and time.monotonic() - self._last_line > PLAIN_SECONDS:
            self._last_line = time.monotonic()
            line = f"Range test  {taken}/{self.steps}  {figures}"
            _print(self.console, line)


def print_range_setup(console: Console, config: Any, dataset: Any, device: Any, settings: Any) -> None:
    """What is about to be tested, on what and where (`jaxmnist.config.run.RunConfig`, `jaxmnist.experiments.lr_range.RangeTest`)."""
    recipe = config.recipe
    lines = {
        "network": f"{config.arch}, recipe {recipe.name}, seed {config.seed}",
        "data": f"{dataset.name} from {dataset.source}",
        "range": f"{settings.start:g} to {settings.end:g} in {settings.steps} steps of {recipe.batch_size} images",
        "device": f"{device.platform}: {device.device_kind}",
    }
    for name, value in lines.items():
        _print(console, f"{name:<11}{value}")


def print_range(console: Console, summary: dict[str, Any], files: list[Path]) -> None:
    """The figures of `lr_range.json`, and the files written."""
    steps, taken = summary["settings"]["steps"], summary["steps_taken"]
    _print(
        console, f"{'steps':<11}{taken} of {steps}{', then the loss diverged' if summary['diverged'] else ''}"
    )
    if summary["best_loss"] is not None:
        _print(console, f"{'best loss':<11}{summary['best_loss']:.4f} (smoothed)")
    _print(console, f"{'time':<11}{summary['seconds']:.1f} s")
    if summary["suggestion"] is not None:
        step = summary["step"]
        _print(console, f"suggested learning rate {summary['suggestion']:.4g} (step {step} of {steps})")
    if summary["dataset"] == "digits":
        print_warning_box(console, "These figures are for scikit-learn's digits. This is not MNIST.")
    for file in files:
        _print(console, f"Written: {file}")


def save_range(result: Any, title: str, path: Path) -> Path:
    """Draws the losses of a test (`jaxmnist.experiments.lr_range.RangeResult`) over the learning rate, with what it picked.

    `title` says what was trained; the settings of the test are added in a second line. Returns the path.
    """
    settings = result.settings
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    axes.set_title(
        f"Learning-rate range test: {title}\n"
        f"{settings.start:g} to {settings.end:g} in {settings.steps:,} steps, smoothing {settings.smoothing:g}, "
        f"{'diverged' if result.diverged else 'ended'} after {len(result.losses):,}",
        fontsize=11,
    )
    axes.set_xlabel("learning rate (log scale)")
    axes.set_ylabel("mean negative log-likelihood of a batch")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3)
    axes.plot(result.rates, result.losses, color="tab:blue", alpha=0.4, linewidth=0.7, label="loss of a step")
    axes.plot(result.rates, result.smoothed, color="tab:blue", linewidth=2.2, label="smoothed loss")
    _shade_dropped(axes, result)
    if len(result.losses):
        axes.set_xlim(settings.start, settings.end)
        axes.set_ylim(0, _top(result))
    if result.step is not None:
        _mark(axes, result)
    # Below the axes, as there is no corner that no curve passes.
    title = "no learning rate suggested" if result.step is None else ""
    figure.legend(loc="outside lower center", ncols=3, frameon=False, title=title)
    return save_figure(figure, path)


def _shade_dropped(axes: Any, result: Any) -> None:
    rates, kept, last = result.rates, result.kept, len(result.rates) - 1
    label = "not considered"
    for left, right in ((0, min(kept.start, last)), (kept.stop - 1, last)):
        if left < right:
            axes.axvspan(rates[left], rates[right], color="0.85", label=label)
            label = None


def _mark(axes: Any, result: Any) -> None:
    axes.axvline(result.suggestion, color="tab:red", linewidth=1.4)
    start, end = result.settings.start, result.settings.end
    right_half = result.suggestion > math.sqrt(start * end)
    axes.annotate(
        f"suggested: {result.suggestion:.4g} (step {result.step})",
        (result.suggestion, 0.96),
        (-6 if right_half else 6, 0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        horizontalalignment="right" if right_half else "left",
        verticalalignment="center",
        color="tab:red",
    )


def _top(result: Any) -> float:
    """Upper end of the loss axis: the smoothed loss without the explosion at its end, and some room."""
    smoothed = result.smoothed[: max(1, result.kept.stop - result.diverged)]
    return 1.15 * float(smoothed.max())


def _print(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)
