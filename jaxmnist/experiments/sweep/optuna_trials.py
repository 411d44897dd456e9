"""Members chosen by Optuna, from the scores of those before: its tree-structured Parzen estimator (TPE).

Optuna's journal is in the sweep's folder, where its dashboard can read it. The sweep's lock keeps other processes away,
so a half-written line and a lock of Optuna's own, left by a killed process, can be removed.
"""

import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxmnist.errors import CheckpointError, UsageError, writing
from jaxmnist.experiments.sweep.axes import Axis
from jaxmnist.experiments.sweep.members import Member
from jaxmnist.runtime.reading import MAX_ROWS_BYTES, read_bytes

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

JOURNAL = "optuna.jsonl"
_NAME = "sweep"


def require_optuna() -> ModuleType:
    """Imports Optuna.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return importlib.import_module("optuna")
    except ImportError as error:
        message = (
            "--optuna needs Optuna, which is not installed; pip install 'jaxmnist[optuna]', or use --random."
        )
        raise UsageError(message) from error


class TpeTrials:
    """Trials in Optuna's journal. A trial that repeats earlier values shares their member and its score."""

    def __init__(self, folder: Path, axes: Sequence[Axis], count: int, sweep_seed: int) -> None:
        """Opens the journal, or creates it.

        Args:
            folder: the sweep's folder, which exists.
            axes: the fields to choose.
            count: number of trials, including those in the journal.
            sweep_seed: seed of the choice, which also depends on the scores.

        Raises:
            UsageError: Optuna is not installed, or the journal cannot be written.
            CheckpointError: the journal is damaged.
        """
        self._optuna = require_optuna()
        self._optuna.logging.set_verbosity(self._optuna.logging.WARNING)
        self._states = self._optuna.trial.TrialState
        self._axes, self._count, self._sweep_seed = axes, count, sweep_seed
        path = folder / JOURNAL
        try:
            with writing(path, "name another --out"):
                _repair(path)
                journal = importlib.import_module("optuna.storages.journal")
                storage = self._optuna.storages.JournalStorage(journal.JournalFileBackend(str(path)))
                self._study = self._optuna.create_study(
                    study_name=_NAME, storage=storage, direction="maximize", load_if_exists=True
                )
        except (ValueError, LookupError, AssertionError) as error:
            raise CheckpointError(
                f"{path} is damaged ({error!r}); restore it or name another --out."
            ) from error
        for trial in self._trials():
            if len(trial.params) < len(axes):  # killed while it was chosen
                self._study.tell(trial.number, state=self._states.FAIL)

    def members(self) -> list[Member]:
        """Returns all members chosen so far."""
        return list(self._by_values().values())

    def begun(self) -> list[Member]:
        """Returns the members whose score is still to be told."""
        begun = {self._values(trial.params) for trial in self._trials() if not trial.state.is_finished()}
        return [member for values, member in self._by_values().items() if values in begun]

    def ask(self) -> Member | None:
        """Chooses the next member; None if there are as many trials as wanted."""
        while len(self._trials()) < self._count:
            # A sampler of its own for each trial: the choice depends on the trials before, not on the process that
            # asked for them.
            number = len(self._study.get_trials(deepcopy=False))
            seed = int(np.random.SeedSequence([self._sweep_seed, number]).generate_state(1)[0])
            self._study.sampler = self._optuna.samplers.TPESampler(seed=seed)
            known = self._by_values()
            trial = self._study.ask({axis.field: self._distribution(axis) for axis in self._axes})
            values = self._values(trial.params)
            if values not in known:
                return self._by_values()[values]
            for earlier in self._trials():
                if earlier.state.is_finished() and self._values(earlier.params) == values:
                    self._tell(trial.number, earlier.value)
                    break
        return None

    def tell(self, member: Member, score: float | None) -> None:
        """Tells the score of a member: its mean accuracy in percent, or None if it diverged."""
        for trial in self._trials():
            if not trial.state.is_finished() and self._values(trial.params) == (*member.values.values(),):
                self._tell(trial.number, score)

    def _tell(self, number: int, score: float | None) -> None:
        if score is None:
            # TPE ranks a pruned trial without intermediate values below every score.
            self._study.tell(number, state=self._states.PRUNED)
        else:
            self._study.tell(number, score)

    def _trials(self) -> "list[FrozenTrial]":
        trials = self._study.get_trials(deepcopy=False)
        return [trial for trial in trials if trial.state != self._states.FAIL]

    def _by_values(self) -> dict[tuple[Any, ...], Member]:
        """Returns the members by their values; the first trial with these values gives the number."""
        members: dict[tuple[Any, ...], Member] = {}
        for trial in self._trials():
            values = self._values(trial.params)
            named = {axis.field: value for axis, value in zip(self._axes, values, strict=True)}
            members.setdefault(values, Member(trial.number + 1, named))
        return members

    def _values(self, params: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(
            axis.choices[params[axis.field]] if axis.choices else axis.value(params[axis.field])
            for axis in self._axes
        )

    def _distribution(self, axis: Axis) -> "BaseDistribution":
        of = self._optuna.distributions
        if axis.choices:  # by position: a category has no order, and a value may be of any type
            return of.CategoricalDistribution(tuple(range(len(axis.choices))))
        if axis.is_whole:
            return of.IntDistribution(int(axis.low), int(axis.high), log=axis.is_log)
        return of.FloatDistribution(axis.low, axis.high, log=axis.is_log)


def _repair(path: Path) -> None:
    """Removes a half-written last line, and a lock whose process is gone."""
    for lock in path.parent.glob(f"{path.name}.lock*"):
        lock.unlink(missing_ok=True)
    if path.exists():
        content = read_bytes(path, MAX_ROWS_BYTES)
        complete = content.rfind(b"\n") + 1
        if complete < len(content):
            os.truncate(path, complete)
