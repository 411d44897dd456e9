"""What is shown and written down while a sweep goes."""

import sys
from typing import Any

from jaxmnist.experiments.study.folder import Study
from jaxmnist.experiments.sweep.folder import Sweep
from jaxmnist.experiments.sweep.members import Member
from jaxmnist.experiments.sweep.table import MemberResult, read_member, read_results, write_table
from jaxmnist.runs.progress import Callback, Progress


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

    def callback(self, member: Member, rung: int, study: Study) -> Callback:
        """Makes the callback for the seeds of a member."""
        bars = self.display.seed_bars(member.name, study.config.recipe.epochs)

        def tell(progress: Progress) -> None:
            bars(progress)
            if progress.kind == "finished":
                self._record(member, rung, progress.seed)

        return tell

    def _record(self, member: Member, rung: int, seed: int) -> None:
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
