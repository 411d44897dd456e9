"""Checkpoints of a run: the latest and the best are kept, and a damaged one is replaced by the next."""

import contextlib
import warnings
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
from jaxtyping import PyTree

from jaxmnist.config.run import RunConfig
from jaxmnist.errors import CheckpointError, JaxmnistWarning, StorageError
from jaxmnist.runs import storage
from jaxmnist.runs.about import (
    FOLDER,
    SCHEMA,
    checkpoint_names,
    difference_from_record,
    order,
    recorded,
    rows_of,
)
from jaxmnist.runs.environment import versions
from jaxmnist.runs.folder import CONFIG, changed_config
from jaxmnist.runtime.files import remove_tree
from jaxmnist.runtime.mesh import Where, everywhere
from jaxmnist.train.loss import Metrics
from jaxmnist.train.state import TrainState

_ATTEMPTS = 20


class Snapshot(NamedTuple):
    """Everything needed to resume exactly."""

    state: TrainState
    metrics: Metrics
    """Sums over the epoch in progress; zero at the end of an epoch."""
    seconds: float
    """Time spent in the epoch in progress."""
    rows: list[dict[str, Any]]
    """Lines of metrics of the completed epochs."""


class Checkpoints:
    """The checkpoints of one run. Nothing is written before the first `save`."""

    def __init__(self, run: Path, arch: str, config: RunConfig | None = None) -> None:
        """Opens the run's `checkpoints` folder, which may be missing.

        Args:
            run: the run folder.
            arch: word for the network, see `jaxmnist.models.arch_word`.
            config: configuration of the run, which new checkpoints record and all others must have.
        """
        self.folder = run / FOLDER
        self.arch = arch
        self._config = None if config is None else recorded(config)
        self._previous: str | None = None
        self._best: dict[str, Any] | None = None

    def latest_step(self) -> int | None:
        """Returns the step of the newest checkpoint, damaged or not; None if there is none."""
        names = checkpoint_names(self.folder)
        return order(names[0])[0] if names else None

    def save(self, snapshot: Snapshot, epoch: int, score: float | None, meets_rule: bool = False) -> None:
        """Saves a checkpoint, which becomes the latest, and the best if it outranks all earlier ones.

        Once it is on disk, all checkpoints except the latest, the one before it and the best are deleted.

        Args:
            snapshot: the content.
            epoch: number of completed epochs.
            score: figure by which the best is chosen (`jaxmnist.runs.selection.score`); None in the middle of an epoch.
            meets_rule: True to rank it above all checkpoints that do not meet the recipe's checkpoint rule.

        Raises:
            StorageError: it could not be written; the earlier checkpoints are intact.
        """
        tree = storage.as_tree(*jax.device_get((snapshot.state, snapshot.metrics)))
        step = int(snapshot.state.step)
        name = f"{step}-mid-epoch" if score is None else f"{step}"
        ranked = {"step": step, "epoch": epoch, "score": score, "meets_rule": meets_rule}
        best = self._best
        if best is None or _rank(ranked) > _rank(best):
            best = {"name": name, **ranked}
        about = {
            "schema": SCHEMA,
            "versions": versions(),
            "arch": self.arch,
            "config": self._config,
            **ranked,
            "seconds": snapshot.seconds,
            "best": best,
            "rows": snapshot.rows,
        }
        try:
            storage.write_state(self.folder / name, tree, about)
        except Exception as error:  # Orbax and TensorStore raise many kinds
            reason = getattr(error, "strerror", None) or str(error).strip().split("\n")[0][:200]
            message = f"the checkpoint of step {step} could not be saved in {self.folder} ({reason})"
            raise StorageError(message) from error
        # Checkpoints that cannot be deleted now do no harm; the next save tries again.
        with contextlib.suppress(OSError):
            for other in checkpoint_names(self.folder):
                if other not in (name, self._previous, best["name"]):
                    remove_tree(self.folder / other)
            storage.remove_leftovers(self.folder)
        self._previous, self._best = name, best

    def restore_latest(self, template: TrainState, metrics: Metrics) -> Snapshot:
        """Restores the newest intact checkpoint; arguments and errors as for `restore_best`."""
        return self._restore("latest", template, metrics)

    def restore_best(self, template: TrainState, metrics: Metrics) -> Snapshot:
        """Restores the best checkpoint so far; if it is damaged, the next best one, with a warning.

        Args:
            template: shapes, dtypes and devices of the state.
            metrics: shapes, dtypes and devices of the sums.

        Raises:
            CheckpointError: there is no checkpoint, none is intact, or one has another arch, configuration or schema.
        """
        return self._restore("best", template, metrics)

    def _restore(self, which: Literal["best", "latest"], template: TrainState, metrics: Metrics) -> Snapshot:
        self._require_utf8()
        # A training process may replace the checkpoints while they are read; then look again.
        for _ in range(_ATTEMPTS):
            intact, damaged = {}, {}
            for name in checkpoint_names(self.folder):
                try:
                    intact[name] = storage.read_about(self.folder / name)
                except storage.DamagedError as error:
                    damaged[name] = str(error)
            if all((self.folder / name).exists() for name in (*intact, *damaged)):
                restored = self._restore_from(intact, damaged, which, template, metrics)
                if restored is not None:
                    return restored
        raise CheckpointError(
            f"the checkpoints in {self.folder} change faster than they can be read; try again."
        )

    def _restore_from(
        self,
        intact: dict[str, dict[str, Any]],
        damaged: dict[str, str],
        which: str,
        template: TrainState,
        metrics: Metrics,
    ) -> Snapshot | None:
        """Restores one of the checkpoints, given by name and newest first; returns None if it has vanished."""
        if not intact and not damaged:
            raise CheckpointError(f"{self.folder} holds no checkpoint; train again.")
        for name, about in intact.items():
            self._require_readable(self.folder / name, about)
        ranked = sorted(intact, key=lambda name: _rank(intact[name]), reverse=True)
        for name in ranked if which == "best" else intact:
            try:
                snapshot = _read(self.folder / name, intact[name], template, metrics)
            except storage.DamagedError as error:
                if not (self.folder / name).exists():
                    return None
                damaged[name] = str(error)
                continue
            newest = next(other for other in intact if other not in damaged)
            # The newest checkpoint records the best so far, even one that is gone.
            self._previous, self._best = name, intact[newest]["best"]
            used = f"{self.folder / name} (epoch {intact[name]['epoch']})"
            self._warn(damaged, newest, intact[newest]["best"]["name"], used)
            return snapshot
        faults = "; ".join(f"{self.folder / name} is damaged ({fault})" for name, fault in damaged.items())
        raise CheckpointError(f"no checkpoint is intact: {faults}; train again.")

    def _warn(self, damaged: dict[str, str], newest: str, best: str, used: str) -> None:
        """Warns of a best checkpoint that is lost, and of damaged ones newer than the newest intact one."""
        lost = {name: f"damaged ({fault})" for name, fault in damaged.items()}
        if not (self.folder / best).exists():
            lost[best] = "missing"
        faults = " and ".join(
            f"{self.folder / name}{', the best so far,' if name == best else ''} is {state}"
            for name, state in lost.items()
            if name == best or order(name) > order(newest)
        )
        if faults:
            warnings.warn(f"{faults}; {used} is used instead.", JaxmnistWarning, stacklevel=5)

    def _require_utf8(self) -> None:
        """Refuses a path that the libraries which read the arrays cannot be given."""
        try:
            str(self.folder.resolve()).encode()
        except UnicodeEncodeError as error:
            raise CheckpointError(
                f"the checkpoints in {str(self.folder)!a} cannot be read, as the path is not UTF-8; rename "
                "the folder or move it."
            ) from error

    def _require_readable(self, folder: Path, about: dict[str, Any]) -> None:
        if about["schema"] != SCHEMA:
            version = about.get("versions", {}).get("jaxmnist")
            raise CheckpointError(
                f"the checkpoint {folder} has schema {about['schema']}, and this version reads schema {SCHEMA}; "
                f"use jaxmnist {version}, which saved it."
            )
        if about["arch"] != self.arch:
            raise CheckpointError(
                f"the checkpoint {folder} is of arch {about['arch']!r}, not {self.arch!r}; "
                f"give the run that trained {self.arch!r}."
            )
        recorded_config = about.get("config")
        if self._config is None or recorded_config is None:
            return
        if difference := difference_from_record(self._config, recorded_config):
            raise changed_config(folder.parent.parent, difference, about)


def abstract(tree: PyTree, where: Where) -> PyTree:
    """Returns shapes, dtypes and placement of arrays to restore, whole on the device or on each device of a mesh."""
    sharding = everywhere(where)
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree)


def _read(folder: Path, about: dict[str, Any], template: TrainState, metrics: Metrics) -> Snapshot:
    tree = storage.as_tree(template, metrics)
    if about["step"] != order(folder.name)[0]:
        raise storage.DamagedError(f"it is the checkpoint of step {about['step']}")
    if differing := about["shapes"].items() ^ storage.shapes(tree).items():
        path = min(path for path, _ in differing)
        held, needed = (of.get(path, "nothing") for of in (about["shapes"], storage.shapes(tree)))
        raise CheckpointError(
            f"the checkpoint {folder} holds {held} at {path}, where the run's {CONFIG} needs {needed}; "
            "restore the configuration that it was trained under."
        )
    arrays = storage.read_arrays(folder, tree, about["arrays"])
    places = jax.tree.map(lambda leaf: leaf.sharding, (template, metrics))
    placed = jax.device_put(storage.from_tree(arrays), places)
    return Snapshot(*placed, seconds=about["seconds"], rows=rows_of(about["rows"]))


def _rank(about: dict[str, Any]) -> tuple[Any, ...]:
    """Sort key of quality, higher is better; of equal scores the first epoch wins, as in the published tables."""
    if about["score"] is None:
        return (-1, about["step"])
    return (0, about["meets_rule"], about["score"], -about["epoch"])
