"""Which states of a run are kept, which is the best, and which is used where one is damaged."""

import contextlib
import dataclasses
import re
import warnings
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
from jaxtyping import PyTree

from jaxmnist.config import Recipe
from jaxmnist.errors import CheckpointError, JaxmnistWarning, StorageError
from jaxmnist.runs.folder import CONFIG, versions
from jaxmnist.runs.storage import (
    DamagedError,
    as_tree,
    from_tree,
    read_about,
    read_arrays,
    remove_leftovers,
    shapes,
    write_state,
)
from jaxmnist.runtime.files import remove_tree
from jaxmnist.runtime.mesh import Where, everywhere
from jaxmnist.train.loss import Metrics
from jaxmnist.train.state import TrainState

FOLDER = "checkpoints"

SCHEMA = 2
"""What a state holds and how; a state of another schema is refused, with both named."""

_NAME = re.compile(r"(\d+)(-mid-epoch)?")


class Snapshot(NamedTuple):
    """What it takes to go on as if nothing had happened."""

    state: TrainState
    metrics: Metrics
    """Sums of the epoch in progress; zero at the end of an epoch."""
    seconds: float
    """Time already spent in the epoch in progress."""
    rows: list[dict[str, Any]]
    """Lines of metrics of the epochs completed."""


class _Found(NamedTuple):
    """A state on the disk: what it says of itself, or why it is damaged."""

    folder: Path
    about: dict[str, Any]
    fault: str = ""

    @property
    def rank(self) -> tuple[Any, ...]:
        """Higher is better. Of equally accurate epochs the first counts as best, as in the published tables."""
        about = self.about
        if about["score"] is None:
            return (-1, about["step"])
        return (0, about["meets_rule"], about["score"], -about["epoch"])


class Checkpoints:
    """The checkpoints of one run. Nothing is written before the first `save`."""

    def __init__(self, run: Path, arch: str, recipe: Recipe | None = None) -> None:
        """Looks into the run's `checkpoints` folder, which may be missing; states tell `recipe` on request."""
        self.folder = run / FOLDER
        self.arch = arch
        self._recipe = None if recipe is None else dataclasses.asdict(recipe)
        self._previous: str | None = None
        self._best: dict[str, Any] | None = None

    def latest_step(self) -> int | None:
        """Step of the newest state, damaged or not; None when there is none."""
        names = self._names()
        return _order(names[0])[0] if names else None

    def save(self, snapshot: Snapshot, epoch: int, score: float | None, meets_rule: bool = False) -> None:
        """Saves a state under its step; it becomes the latest, and the best if no earlier one is as good.

        States that are neither latest, best nor the one before the latest are deleted, once this one is on
        the disk.

        Args:
            snapshot: what to save.
            epoch: epochs completed.
            score: figure that the best is chosen by (`jaxmnist.runs.selection.score`); None in the middle of an epoch.
            meets_rule: whether it is to be preferred to any that do not meet the recipe's checkpoint rule.

        Raises:
            StorageError: it cannot be written; the states there were are intact.
        """
        tree = as_tree(*jax.device_get((snapshot.state, snapshot.metrics)))
        step = int(snapshot.state.step)
        name = f"{step}-mid-epoch" if score is None else f"{step}"
        rank = {"step": step, "epoch": epoch, "score": score, "meets_rule": meets_rule}
        saved, best = _Found(self.folder / name, rank), self._best
        if best is None or saved.rank > _Found(self.folder / best["name"], best).rank:
            best = {"name": name, **rank}
        about = {
            "schema": SCHEMA,
            "versions": versions(),
            "arch": self.arch,
            "recipe": self._recipe,
            **rank,
            "seconds": snapshot.seconds,
            "best": best,
            "rows": snapshot.rows,
        }
        try:
            write_state(self.folder / name, tree, about)
        except Exception as error:  # Orbax and TensorStore raise many kinds
            reason = getattr(error, "strerror", None) or str(error).strip().split("\n")[0][:200]
            message = f"the state of step {step} could not be saved in {self.folder} ({reason})"
            raise StorageError(message) from error
        kept = (name, self._previous, best["name"])
        # What cannot be deleted now is in nobody's way, and may be later.
        with contextlib.suppress(OSError):
            for other in self._names():
                if other not in kept:
                    remove_tree(self.folder / other)
            remove_leftovers(self.folder)
        self._previous, self._best = name, best

    def restore_latest(self, template: TrainState, metrics: Metrics) -> Snapshot:
        """The newest snapshot that is intact. See `restore_best`."""
        return self._restore("latest", template, metrics)

    def restore_best(self, template: TrainState, metrics: Metrics) -> Snapshot:
        """The snapshot of the best epoch so far; where it is damaged the next best one, with a warning.

        Args:
            template: shapes, dtypes and devices of the state to restore.
            metrics: the same of the sums.

        Raises:
            CheckpointError: there is none, none is intact, or it is one of another arch, of another
                configuration or of a newer version.
        """
        return self._restore("best", template, metrics)

    def _restore(self, which: Literal["best", "latest"], template: TrainState, metrics: Metrics) -> Snapshot:
        # A run that goes on may replace the states while they are read: then look again.
        for _ in range(_LOOKS):
            found = [self._look_at(self.folder / name) for name in self._names()]
            if all(state.folder.exists() for state in found):
                restored = self._restore_from(found, which, template, metrics)
                if restored is not None:
                    return restored
        raise CheckpointError(f"the states in {self.folder} change faster than they can be read; try again.")

    def _restore_from(
        self, found: list[_Found], which: str, template: TrainState, metrics: Metrics
    ) -> Snapshot | None:
        """A snapshot of those found, the newest of which comes first; None where one vanished meanwhile."""
        if not found:
            raise CheckpointError(f"{self.folder} holds no checkpoint; train again.")
        damaged = {state.folder: state.fault for state in found if state.fault}
        for state in found:
            self._require_readable(state)
        intact = [state for state in found if not state.fault]
        ranked = sorted(intact, key=lambda state: state.rank, reverse=True)
        for state in ranked if which == "best" else intact:
            try:
                snapshot = self._read(state, template, metrics)
            except DamagedError as error:
                if not state.folder.exists():
                    return None
                damaged[state.folder] = str(error)
                continue
            # What the newest state says is the best so far, be it there or not.
            best = next(other.about["best"] for other in intact if other.folder not in damaged)
            self._previous, self._best = state.folder.name, best
            self._warn(found, state, best, damaged)
            return snapshot
        faults = "; ".join(f"{folder} is damaged ({fault})" for folder, fault in damaged.items())
        raise CheckpointError(f"no checkpoint is intact: {faults}; train again.")

    def _warn(
        self, found: list[_Found], used: _Found, best: dict[str, Any], damaged: dict[Path, str]
    ) -> None:
        """Says which state is used in place of which."""
        newest = next(state for state in found if state.folder not in damaged)
        passed = {
            folder: fault
            for folder, fault in damaged.items()
            if _order(folder.name) > _order(newest.folder.name)
        }
        if self.folder / best["name"] not in {state.folder for state in found if state.folder not in damaged}:
            lost = self.folder / best["name"]
            passed[lost] = f"the best so far: {damaged.get(lost, 'it is missing')}"
        if passed:
            faults = " and ".join(f"{folder} is damaged ({fault})" for folder, fault in passed.items())
            message = f"{faults}; {used.folder}, of epoch {used.about['epoch']}, is used instead."
            warnings.warn(message, JaxmnistWarning, stacklevel=5)

    def _look_at(self, folder: Path) -> _Found:
        try:
            return _Found(folder, read_about(folder))
        except DamagedError as error:
            return _Found(folder, {}, str(error))

    def _require_readable(self, state: _Found) -> None:
        if state.fault:
            return
        about, place = state.about, f"the checkpoint {state.folder}"
        if about["schema"] != SCHEMA:
            version = about.get("versions", {}).get("jaxmnist")
            raise CheckpointError(
                f"{place} has schema {about['schema']}, and this version reads schema {SCHEMA}; "
                f"use jaxmnist {version}, which saved it."
            )
        if about["arch"] != self.arch:
            raise CheckpointError(
                f"{place} is one of arch {about['arch']!r}, not of {self.arch!r}; "
                f"give the run that trained {self.arch!r}."
            )

    def _read(self, state: _Found, template: TrainState, metrics: Metrics) -> Snapshot:
        about, tree = state.about, as_tree(template, metrics)
        if about["step"] != _order(state.folder.name)[0]:
            raise DamagedError(f"it is the state of step {about['step']}")
        if differing := about["shapes"].items() ^ shapes(tree).items():
            path = min(path for path, _ in differing)
            held, needed = (of.get(path, "nothing") for of in (about["shapes"], shapes(tree)))
            raise CheckpointError(
                f"the checkpoint {state.folder} holds {held} at {path}, where the run's {CONFIG} needs "
                f"{needed}; restore the configuration that it was trained under."
            )
        arrays = read_arrays(state.folder, tree, about["arrays"])
        places = jax.tree.map(lambda leaf: leaf.sharding, (template, metrics))
        placed = jax.device_put(from_tree(arrays), places)
        return Snapshot(*placed, seconds=about["seconds"], rows=about["rows"])

    def _names(self) -> list[str]:
        """Names of the states, the newest first."""
        if not self.folder.is_dir():
            return []
        names = [folder.name for folder in self.folder.iterdir() if _NAME.fullmatch(folder.name)]
        return sorted(names, key=_order, reverse=True)


_LOOKS = 20


def _order(name: str) -> tuple[int, bool]:
    """Names in the order of their states: the end of an epoch is after all of it, its last step included."""
    step, middle = _NAME.fullmatch(name).groups()  # pyright: ignore[reportOptionalMemberAccess]
    return int(step), not middle


def abstract(tree: PyTree, where: Where) -> PyTree:
    """Shapes and dtypes of a tree of arrays, placed on a device, or whole on all of a mesh: for restoring."""
    sharding = everywhere(where)
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree)
