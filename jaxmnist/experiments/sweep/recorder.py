"""What is shown and written down while a sweep goes."""

import sys
from typing import Any

from jaxmnist.experiments.study.folder import Study
from jaxmnist.experiments.study.loop import SeedObserver
from jaxmnist.experiments.sweep.folder import Sweep
from jaxmnist.experiments.sweep.members import Member
from jaxmnist.experiments.sweep.table import MemberResult, read_member, read_results, write_table


class Recorder:
    """An observer that shows how a sweep goes, and keeps its table up to date."""

    def __init__(self, display: Any, sweep: Sweep) -> None:
        """Shows nothing yet.

        Args:
            display: a `jaxmnist.report.terminal.sweep.SweepDisplay`.
            sweep: the sweep.
        """
        self.display, self.sweep = display, sweep
        self.results: dict[int, MemberResult] = {}

    def on_rung(self, rung: int, members: int, jobs: int, done: int) -> None:
        if not rung:
            self.results = {result.member.number: result for result in read_results(self.sweep)}
        name = (
            f"rung {rung + 1} of {len(self.sweep.rungs)}, {members} members" if self.sweep.rungs else "sweep"
        )
        self.display.begin(name, jobs, done)

    def observe(self, member: Member, rung: int, study: Study) -> SeedObserver:
        return _SeedRecorder(self, member, rung, study)

    def on_seed(self, member: Member, rung: int, seed: int) -> None:
        result = read_member(self.sweep, member, rung)
        assert result is not None
        self.results[member.number] = result
        found = next((one for one in result.seeds if one.seed == seed), None)
        outcome = "diverged"
        if found is not None:
            outcome = f"{self.sweep.split} last epoch {found.last:.2f} %  {found.seconds:.1f} s"
        self.display.finished(member.name, seed, outcome)
        try:
            write_table(self.sweep, sorted(self.results.values(), key=lambda one: one.order))
        except OSError as error:
            print(
                f"warning: the results of {self.sweep.folder} could not be written ({error.strerror}).",
                file=sys.stderr,
            )


class _SeedRecorder:
    """The observer of a member's seeds."""

    def __init__(self, recorder: Recorder, member: Member, rung: int, study: Study) -> None:
        self._bars = recorder.display.seed_bars(member.name, study.config.recipe.epochs)
        self._recorder, self._member, self._rung = recorder, member, rung
        self.on_progress, self.on_epoch = self._bars.on_progress, self._bars.on_epoch

    def on_seed(self, seed: int) -> None:
        self._bars.on_seed(seed)
        self._recorder.on_seed(self._member, self._rung, seed)
