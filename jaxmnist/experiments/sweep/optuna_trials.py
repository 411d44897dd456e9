"""Members that Optuna chooses by what came of those before: its tree-structured Parzen estimator (TPE).

Optuna's journal lies in the sweep's folder, where its dashboard can read it. The sweep's lock keeps others away from
it, so that what a killed process left of a line, and of Optuna's own lock, can be cleared away.
"""

import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxmnist.errors import CheckpointError, UsageError
from jaxmnist.experiments.sweep.axes import Axis
from jaxmnist.experiments.sweep.members import Member

JOURNAL = "optuna.jsonl"
_NAME = "sweep"


def require_optuna() -> Any:
    """Optuna.

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
    """Trials in Optuna's journal. A trial with the values of an earlier one shares its member and its score."""

    def __init__(self, folder: Path, axes: Sequence[Axis], count: int, sweep_seed: int) -> None:
        """Opens the journal, or makes it.

        Args:
            folder: of the sweep, which exists.
            axes: what the members differ in.
            count: of trials, those of the journal included.
            sweep_seed: what the choice follows from, beside the scores.

        Raises:
            UsageError: Optuna is not installed, or the journal cannot be written.
            CheckpointError: the journal is damaged.
        """
        self._optuna = require_optuna()
        self._optuna.logging.set_verbosity(self._optuna.logging.WARNING)
        self._axes, self._count, self._sweep_seed = axes, count, sweep_seed
        path = folder / JOURNAL
        try:
            _clear_up(path)
            journal = importlib.import_module("optuna.storages.journal")
            storage = self._optuna.storages.JournalStorage(journal.JournalFileBackend(str(path)))
            self._study = self._optuna.create_study(
                study_name=_NAME, storage=storage, direction="maximize", load_if_exists=True
            )
        except OSError as error:
            raise UsageError(f"{path} cannot be written ({error.strerror}); name another --out.") from error
        except (ValueError, LookupError, AssertionError) as error:
            raise CheckpointError(
                f"{path} is damaged ({error!r}); restore it or name another --out."
            ) from error
        self._members: dict[tuple[Any, ...], Member] = {}
        self._open: dict[int, list[int]] = {}
        """Trials that wait for a member's score."""
        self._scores: dict[int, float | None] = {}
        self._trials = 0
        for trial in self._study.get_trials(deepcopy=False):
            self._take_up(trial)

    def members(self) -> list[Member]:
        """All that were chosen."""
        return list(self._members.values())

    def begun(self) -> list[Member]:
        """Members chosen of which nothing was told yet."""
        return [member for member in self._members.values() if self._open.get(member.number)]

    def ask(self) -> Member | None:
        """The next member; None where there are as many trials as were asked for."""
        while self._trials < self._count:
            # A sampler of its own for each trial: its choice depends on the trials before and not on whether they
            # were asked for by this process.
            number = len(self._study.get_trials(deepcopy=False))
            seed = int(np.random.SeedSequence([self._sweep_seed, number]).generate_state(1)[0])
            self._study.sampler = self._optuna.samplers.TPESampler(seed=seed)
            trial = self._study.ask({axis.field: self._distribution(axis) for axis in self._axes})
            self._trials += 1
            member, is_new = self._assign(trial.number, trial.params)
            if is_new:
                return member
        return None

    def tell(self, member: Member, score: float | None) -> None:
        """What came of a member: its mean accuracy in percent, None where it diverged, the worst there is."""
        self._scores[member.number] = score
        for number in self._open.pop(member.number, []):
            self._tell(number, score)

    def _tell(self, number: int, score: float | None) -> None:
        if score is None:
            # Without an intermediate value TPE takes it for worse than any score.
            self._study.tell(number, state=self._optuna.trial.TrialState.PRUNED)
        else:
            self._study.tell(number, score)

    def _take_up(self, trial: Any) -> None:
        states = self._optuna.trial.TrialState
        if trial.state == states.FAIL:
            return
        if set(trial.params) != {axis.field for axis in self._axes}:  # killed while it was asked for
            self._study.tell(trial.number, state=states.FAIL)
            return
        self._trials += 1
        if trial.state.is_finished():
            member, _ = self._member(trial.number, trial.params)
            self._scores[member.number] = trial.value if trial.state == states.COMPLETE else None
        else:
            self._assign(trial.number, trial.params)

    def _assign(self, trial: int, params: Mapping[str, Any]) -> tuple[Member, bool]:
        """The member of a trial, and whether it is new; a trial that repeats a scored one is told at once."""
        member, is_new = self._member(trial, params)
        if member.number in self._scores:
            self._tell(trial, self._scores[member.number])
        else:
            self._open.setdefault(member.number, []).append(trial)
        return member, is_new

    def _member(self, trial: int, params: Mapping[str, Any]) -> tuple[Member, bool]:
        values = tuple(
            axis.choices[params[axis.field]] if axis.choices else axis.value(params[axis.field])
            for axis in self._axes
        )
        is_new = values not in self._members
        if is_new:
            named = {axis.field: value for axis, value in zip(self._axes, values, strict=True)}
            self._members[values] = Member(trial + 1, named)
        return self._members[values], is_new

    def _distribution(self, axis: Axis) -> Any:
        of = self._optuna.distributions
        if axis.choices:  # by their place, as a category knows no order and a value may be of any type
            return of.CategoricalDistribution(tuple(range(len(axis.choices))))
        if axis.is_whole:
            return of.IntDistribution(int(axis.low), int(axis.high), log=axis.is_log)
        return of.FloatDistribution(axis.low, axis.high, log=axis.is_log)


def _clear_up(path: Path) -> None:
    """Takes away a line that was not written to its end, and a lock that nobody can hold."""
    for left in path.parent.glob(f"{path.name}.lock*"):
        left.unlink(missing_ok=True)
    if path.is_file():
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(path, whole)
