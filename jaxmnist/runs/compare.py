"""Training runs side by side, each with the published run of the same network and recipe."""

import dataclasses
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jaxmnist.config import RECIPES
from jaxmnist.data import DATASETS
from jaxmnist.data.checksums import MNIST_FINGERPRINT
from jaxmnist.data.dataset import dataset_title
from jaxmnist.errors import CheckpointError
from jaxmnist.models import ARCHS, arch_title
from jaxmnist.runs.folder import CONFIG, METRICS, RESULTS, naming_damage, read_config
from jaxmnist.runs.published import Published, published
from jaxmnist.runs.record import Record, read_record

COMPARISON = "comparison.json"
MISSING = "-"
"""Text of a figure that does not exist."""

_DEPTH = 2  # `runs/` holds run folders, a folder of studies holds folders of run folders


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """Figures of a run, named as in `results.json`. Accuracies are percentages; None while the run is unfinished."""

    run: str
    """Path of the run folder."""
    arch: str
    recipe: str
    dataset: str
    seed: int
    select_on: str
    """Split that drove the schedule and selected the best epoch: val or test; with last, no split did."""
    finished: bool
    epochs: int
    """Number of completed epochs."""
    recipe_epochs: int
    """Number of epochs of the recipe; equal to `epochs` once the run is finished."""
    seconds: float
    """Training time."""
    test_accuracies: tuple[float, ...]
    """Test accuracy of each epoch; empty if a finished run has no metrics."""
    data_fingerprint: str | None = None
    """SHA-256 of the images and labels."""
    parameters: int | None = None
    best_epoch: int | None = None
    test_accuracy_of_best: float | None = None
    final_test_accuracy: float | None = None
    last_five_mean_test_accuracy: float | None = None
    best_test_accuracy: float | None = None
    best_test_epoch: int | None = None
    best_train_accuracy: float | None = None
    final_train_accuracy: float | None = None
    rule_met: bool = True
    """False if no epoch met the recipe's checkpoint rule, so that the best of all was kept."""
    stopped: str | None = None
    """Reason for the end before the recipe's last epoch; None after all epochs."""

    @property
    def published(self) -> Published | None:
        """The published run of the same network and recipe; all of those are on the genuine MNIST."""
        return published(self.arch, self.recipe) if self.is_mnist else None

    @property
    def is_mnist(self) -> bool:
        """True if the data are the genuine MNIST, by their fingerprint; older results have its name alone."""
        return (
            self.data_fingerprint == MNIST_FINGERPRINT if self.data_fingerprint else self.dataset == "mnist"
        )

    @property
    def difference(self) -> float | None:
        """Percentage points from the published last-five mean to the run's own."""
        theirs = self.published and self.published.last_five_mean
        ours = self.last_five_mean_test_accuracy
        return None if ours is None or theirs is None else ours - theirs

    @property
    def name(self) -> str:
        """The arch, and the recipe unless its name is that of the arch or of its family."""
        own = self.arch == self.recipe or self.arch.startswith(f"{self.recipe}_")
        return arch_title(self.arch) if own else f"{arch_title(self.arch)}, recipe {self.recipe}"

    def cells(self) -> dict[str, str]:
        """Returns the figures as text, by the headings of their columns in every table of runs."""
        theirs, ours_mean = self.published, self.last_five_mean_test_accuracy
        their_mean = theirs and theirs.last_five_mean
        points = MISSING
        if ours_mean is not None and their_mean is not None:
            # Of the rounded means, so that a reader who subtracts gets the same.
            points = f"{round(ours_mean, 2) - round(their_mean, 2):+.2f}"
        return {
            "network": arch_title(self.arch),
            "recipe": self.recipe,
            "dataset": self.dataset,
            "seed": str(self.seed),
            "parameters": MISSING if self.parameters is None else f"{self.parameters:,}",
            "last-five mean": _accuracy(ours_mean),
            "published": _accuracy(their_mean),
            "points": points,
            "best test (epoch)": _accuracy(self.best_test_accuracy, self.best_test_epoch),
            "published best": _accuracy(
                theirs and theirs.best_test_accuracy, theirs and theirs.best_test_epoch
            ),
            "selected (epoch)": _accuracy(self.test_accuracy_of_best, self.best_epoch),
            "selected on": self.select_on,
            "seconds": f"{self.seconds:,.0f}",
        }


def compare(folders: Iterable[Path]) -> list[ComparedRun]:
    """Reads runs and sorts them by dataset, arch, recipe and seed.

    Args:
        folders: run folders, or folders that contain run folders at most two levels below. A run that is found
            twice is listed once.

    Raises:
        CheckpointError: a folder neither is a run folder nor contains one, or files of a run are damaged.
    """
    found = {folder: _runs_in(folder, _DEPTH) for folder in folders}
    if strangers := [str(folder) for folder, inside in found.items() if not inside]:
        verbs = (
            "is not a run folder and contains" if len(strangers) == 1 else "are not run folders and contain"
        )
        raise CheckpointError(
            f"{' and '.join(strangers)} {verbs} none; give run folders made by train, or a folder of them."
        )
    unique = {run.resolve(): run for inside in found.values() for run in inside}
    return sorted(_apart([read_run(run) for run in unique.values()]), key=_order)


def read_run(run: Path, record: Record | None = None) -> ComparedRun:
    """Reads the figures of one run, finished or not.

    Args:
        run: the run folder.
        record: its record, if it has been read.

    Raises:
        CheckpointError: the folder is not a run folder, or its files are damaged.
    """
    record = record or read_record(run)
    return _finished(run, record) if record.results else _unfinished(run, record)


def as_json(compared: Iterable[ComparedRun]) -> dict[str, Any]:
    """Returns the contents of `comparison.json`: the figures of each run and of the published one."""
    return {"runs": [run_as_json(run) for run in compared]}


def run_as_json(run: ComparedRun) -> dict[str, Any]:
    """Returns the figures of a run and of the published one as plain JSON values."""
    theirs = None
    if (source := run.published) is not None:
        derived = {"best_test_epoch": source.best_test_epoch, "last_five_mean": source.last_five_mean}
        theirs = dataclasses.asdict(source) | derived
    return dataclasses.asdict(run) | {"published": theirs, "difference": run.difference}


def _accuracy(value: float | None, epoch: int | None = None) -> str:
    if value is None:
        return MISSING
    return f"{value:.2f}" if epoch is None else f"{value:.2f} ({epoch})"


def _runs_in(folder: Path, depth: int) -> list[Path]:
    if any((folder / name).is_file() for name in (RESULTS, METRICS, CONFIG)):
        return [folder]
    if depth == 0 or not folder.is_dir():
        return []
    return [run for inside in sorted(folder.iterdir()) for run in _runs_in(inside, depth - 1)]


def _apart(compared: list[ComparedRun]) -> list[ComparedRun]:
    """Adds the beginning of the fingerprint to the dataset of runs on different data of the same name."""
    found: dict[str, set[str]] = {}
    for run in compared:
        if run.data_fingerprint:
            found.setdefault(run.dataset, set()).add(run.data_fingerprint)
    return [
        dataclasses.replace(run, dataset=f"{run.dataset} {run.data_fingerprint[:6]}")
        if run.data_fingerprint and len(found[run.dataset]) > 1
        else run
        for run in compared
    ]


def _order(run: ComparedRun) -> tuple[tuple[int, str], tuple[int, str], tuple[int, str], int, str]:
    def rank(name: str, known: tuple[str, ...]) -> tuple[int, str]:
        # Unknown names, of a later version or of a network of one's own, come last.
        return (known.index(name) if name in known else len(known), name)

    return rank(run.dataset, DATASETS), rank(run.arch, ARCHS), rank(run.recipe, RECIPES), run.seed, run.run


def _finished(run: Path, record: Record) -> ComparedRun:
    values = dataclasses.asdict(record.results)  # pyright: ignore[reportArgumentType]
    values["data_fingerprint"] = values["data_fingerprint"] or None
    accuracies = _column(run, record, "test_accuracy")
    return ComparedRun(
        run=str(run), finished=True, recipe_epochs=values["epochs"], test_accuracies=accuracies, **values
    )


def _unfinished(run: Path, record: Record) -> ComparedRun:
    config, accuracies = read_config(run), _column(run, record, "test_accuracy")
    return ComparedRun(
        run=str(run),
        arch=config.arch,
        recipe=config.recipe.name,
        dataset=dataset_title(config.dataset),
        data_fingerprint=config.data_fingerprint,
        seed=config.seed,
        select_on=config.select_on,
        finished=False,
        epochs=len(accuracies),
        recipe_epochs=config.recipe.epochs,
        seconds=round(math.fsum(_column(run, record, "seconds")), 3),
        test_accuracies=accuracies,
    )


def _column(run: Path, record: Record, name: str) -> tuple[float, ...]:
    with naming_damage(run / METRICS, "restore it or leave the run out"):
        return tuple(_number(row[name]) for row in record.rows)


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{value!r} should be a number")
    return float(value)
