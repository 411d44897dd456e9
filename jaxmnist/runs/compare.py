"""Runs beside each other and beside what the sources published."""

import contextlib
import dataclasses
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from jaxmnist.config import RECIPES
from jaxmnist.data import DATASETS
from jaxmnist.errors import CheckpointError
from jaxmnist.models import ARCHS
from jaxmnist.runs.folder import CONFIG, METRICS, RESULTS, read_config, read_metrics
from jaxmnist.runs.published import Published, published

COMPARISON = "comparison.json"

_DEPTH = 2  # `runs/` holds runs, a folder of studies holds folders of runs


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """A run's figures, named as in `results.json`. Accuracies are percentages; None where a run is unfinished."""

    run: str
    """Its folder."""
    arch: str
    recipe: str
    dataset: str
    seed: int
    select_on: str
    """Split that drove the schedule and picked the best epoch: val or test; with last, none did."""
    finished: bool
    epochs: int
    """Completed ones."""
    recipe_epochs: int
    """What an unfinished run still aims at; else equal to `epochs`."""
    seconds: float
    test_accuracies: tuple[float, ...]
    """From epoch 1 on; empty where a finished run's metrics were not kept."""
    parameters: int | None = None
    best_epoch: int | None = None
    test_accuracy_of_best: float | None = None
    last_five_mean_test_accuracy: float | None = None
    best_test_accuracy: float | None = None
    best_test_epoch: int | None = None

    @property
    def published(self) -> Published | None:
        """The published run of the same network by the same recipe: all of those are on MNIST."""
        return published(self.arch, self.recipe) if self.dataset == "mnist" else None

    @property
    def difference(self) -> float | None:
        """Percentage points from the published last-five mean to this run's."""
        theirs = self.published and self.published.last_five_mean
        ours = self.last_five_mean_test_accuracy
        return None if ours is None or theirs is None else ours - theirs

    @property
    def name(self) -> str:
        """Network, and recipe where it is not called like the network or its family."""
        own = self.arch == self.recipe or self.arch.startswith(f"{self.recipe}_")
        return self.arch if own else f"{self.arch}, recipe {self.recipe}"


def compare(folders: Iterable[Path]) -> list[ComparedRun]:
    """Reads runs and sorts them by dataset, network, recipe and seed.

    Args:
        folders: runs, or folders that hold runs at most two levels below; what is found twice counts once.

    Raises:
        CheckpointError: a folder neither is a run nor holds one, or files of a run are damaged.
    """
    found = {folder: _runs_in(folder, _DEPTH) for folder in folders}
    if strangers := [str(folder) for folder, inside in found.items() if not inside]:
        what = "is not a run folder and holds" if len(strangers) == 1 else "are not run folders and hold"
        raise CheckpointError(
            f"{' and '.join(strangers)} {what} none; give folders that train made, or one that they lie in."
        )
    unique = {run.resolve(): run for inside in found.values() for run in inside}
    return sorted(map(read_run, unique.values()), key=_order)


def read_run(run: Path) -> ComparedRun:
    """The figures of one run, finished or not.

    Raises:
        CheckpointError: it is not a run, or its files are damaged.
    """
    return _finished(run) if (run / RESULTS).is_file() else _unfinished(run)


def as_json(compared: Iterable[ComparedRun]) -> dict[str, Any]:
    """The contents of `comparison.json`: under `runs` the figures of each beside the published ones."""
    return {"runs": [_as_json(run) for run in compared]}


def _as_json(run: ComparedRun) -> dict[str, Any]:
    theirs = None
    if (source := run.published) is not None:
        derived = {"best_test_epoch": source.best_test_epoch, "last_five_mean": source.last_five_mean}
        theirs = dataclasses.asdict(source) | derived
    return dataclasses.asdict(run) | {"published": theirs, "difference": run.difference}


def _runs_in(folder: Path, depth: int) -> list[Path]:
    if any((folder / name).is_file() for name in (RESULTS, METRICS, CONFIG)):
        return [folder]
    if depth == 0 or not folder.is_dir():
        return []
    return [run for inside in sorted(folder.iterdir()) for run in _runs_in(inside, depth - 1)]


def _order(run: ComparedRun) -> tuple[Any, ...]:
    return (
        _place(run.dataset, DATASETS),
        _place(run.arch, ARCHS),
        _place(run.recipe, RECIPES),
        run.seed,
        run.run,
    )


def _place(name: str, known: tuple[str, ...]) -> tuple[int, str]:
    # Names of a later version come last instead of failing.
    return (known.index(name) if name in known else len(known), name)


_FIELDS: dict[str, type] = {
    **dict.fromkeys(("arch", "recipe", "dataset", "select_on"), str),
    **dict.fromkeys(("seed", "epochs", "parameters", "best_epoch", "best_test_epoch"), int),
    **dict.fromkeys(("test_accuracy_of_best", "last_five_mean_test_accuracy", "best_test_accuracy"), float),
    "seconds": float,
}


def _finished(run: Path) -> ComparedRun:
    with _damage_named(run / RESULTS):
        results = json.loads((run / RESULTS).read_text())
        values: dict[str, Any] = {name: _typed(results[name], kind) for name, kind in _FIELDS.items()}
    return ComparedRun(
        run=str(run),
        finished=True,
        recipe_epochs=values["epochs"],
        test_accuracies=_column(run, "test_accuracy"),
        **values,
    )


def _unfinished(run: Path) -> ComparedRun:
    config, accuracies = read_config(run), _column(run, "test_accuracy")
    return ComparedRun(
        run=str(run),
        arch=config.arch,
        recipe=config.recipe.name,
        dataset=config.dataset,
        seed=config.seed,
        select_on=config.select_on,
        finished=False,
        epochs=len(accuracies),
        recipe_epochs=config.recipe.epochs,
        seconds=round(math.fsum(_column(run, "seconds")), 3),
        test_accuracies=accuracies,
    )


def _column(run: Path, name: str) -> tuple[float, ...]:
    with _damage_named(run / METRICS):
        return tuple(_typed(row[name], float) for row in read_metrics(run))


def _typed(value: Any, kind: type) -> Any:
    # JSON has one kind of number: 99.0 may be written as 99.
    if not isinstance(value, int | float if kind is float else kind) or isinstance(value, bool):
        raise TypeError(f"{value!r} should be {kind.__name__}")
    return kind(value)


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged ({error!r}); restore it or leave the run out.") from error
