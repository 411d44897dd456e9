"""A learning-rate range test in the terminal."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from jaxmnist.config.run import RunConfig
from jaxmnist.data import Dataset
from jaxmnist.experiments.lr_range import RangeResult, RangeTest
from jaxmnist.models import arch_title
from jaxmnist.report.terminal import data_phrase, print_facts, print_files, print_line, warn_of_digits
from jaxmnist.report.terminal.training import PLAIN_SECONDS
from jaxmnist.runtime.devices import Device
from jaxmnist.runtime.mesh import where_text


@contextlib.contextmanager
def range_progress(console: Console, steps: int) -> Iterator[Callable[[RangeResult], None]]:
    """Context manager with a callback for `find_learning_rate`, which shows the progress of its steps."""
    bars = Progress(
        TextColumn("Range test"),
        BarColumn(bar_width=None),
        TextColumn("{task.completed}/{task.total}  {task.description}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bars.add_task("", total=steps)
    last_line = -math.inf  # the first line comes at once: it shows that compilation is done

    def show(result: RangeResult) -> None:
        nonlocal last_line
        taken = len(result.losses)
        if not taken:
            return
        figures = f"lr {result.rates[-1]:.3g}  smoothed loss {result.smoothed[-1]:.4f}"
        bars.update(task, completed=taken, description=figures)
        if not console.is_terminal and time.monotonic() - last_line > PLAIN_SECONDS:
            last_line = time.monotonic()
            print_line(console, f"Range test  {taken}/{steps}  {figures}")

    with bars:
        yield show


def print_range_setup(
    console: Console, config: RunConfig, dataset: Dataset, device: Device, settings: RangeTest
) -> None:
    """Prints the network, the data and the range to test."""
    recipe = config.recipe
    facts = {
        "network": f"{arch_title(config.arch)}, recipe {recipe.name}, seed {config.seed}",
        "data": data_phrase(dataset),
        "range": f"{settings.start:g} to {settings.end:g} in {settings.steps} steps of {recipe.batch_size} images",
        "device": where_text(device),
    }
    print_facts(console, facts)


def print_range(console: Console, summary: Mapping[str, Any], files: Sequence[Path]) -> None:
    """Prints the figures of `lr_range.json`, and the files written."""
    steps, best = summary["settings"]["steps"], summary["best_loss"]
    diverged = ", then the loss diverged" if summary["diverged"] else ""
    facts = {
        "steps": f"{summary['steps_taken']} of {steps}{diverged}",
        "best loss": "" if best is None else f"{best:.4f} (smoothed)",
        "time": f"{summary['seconds']:.1f} s",
    }
    print_facts(console, facts)
    if summary["suggestion"] is not None:
        divisor = summary["settings"]["divisor"]
        divided = f", divided by {divisor:g}" if divisor != 1 else ""
        place = f"step {summary['step']} of {steps}{divided}"
        print_line(console, f"suggested learning rate {summary['suggestion']:.4g} ({place})")
    warn_of_digits(console, summary["dataset"])
    print_files(console, files)
