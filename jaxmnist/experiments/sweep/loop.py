"""The loop of a sweep: jobs of its members, rung by rung or trial by trial, whoever trains them."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, runtime_checkable

from jaxmnist.experiments.study.folder import Study, is_closed
from jaxmnist.experiments.study.jobs import Job
from jaxmnist.experiments.sweep.folder import Sweep, write_sweep
from jaxmnist.experiments.sweep.halving import promoted
from jaxmnist.experiments.sweep.members import Member
from jaxmnist.experiments.sweep.table import read_member
from jaxmnist.runs.progress import Callback, Progress

Train = Callable[[Iterable[Job], int], None]
"""Who trains: takes jobs, and how many there are at most; returns when all are finished."""


OnRung = Callable[[int, int, int, int], None]
"""Called when a rung begins: (rung from 0, its members, its jobs, jobs already done). A sweep without halving is
one rung."""
CallbackOf = Callable[[Member, int, Study], Callback]
"""Makes the callback for the seeds of a member: (member, rung, study) -> callback."""


@dataclasses.dataclass(frozen=True)
class Shard:
    """One host's part of a sweep: the members whose number is `index` modulo `count`."""

    index: int
    count: int

    def has(self, member: Member) -> bool:
        """Whether a member is in this part."""
        return member.number % self.count == self.index


WHOLE = Shard(0, 1)
"""All members."""


@runtime_checkable
class Trials(Protocol):
    """Who chooses members one by one by what came of those before, see `jaxmnist.experiments.sweep.optuna_trials`."""

    def begun(self) -> list[Member]:
        """Members chosen of which nothing was told yet."""
        ...

    def ask(self) -> Member | None:
        """The next member; None where there are as many as were asked for."""
        ...

    def tell(self, member: Member, score: float | None) -> None:
        """What came of a member: its mean accuracy in percent, None where it diverged."""


def train_sweep(
    sweep: Sweep, train: Train, on_rung: OnRung, callback_of: CallbackOf, shard: Shard = WHOLE
) -> None:
    """Trains what is not finished of a sweep whose members are given, a job for each member and seed.

    Args:
        sweep: the sweep.
        train: who trains.
        on_rung: called at the beginning of every rung.
        callback_of: makes the callbacks for progress.
        shard: the part of the members to train; with halving, all.

    Raises:
        JaxmnistError: as for `train`.
    """
    members = [member for member in sweep.members if member.number <= sweep.plan.count and shard.has(member)]
    for index in range(max(1, len(sweep.rungs))):
        if index:
            members = _promoted(sweep, members, index)
        wanted = [(member, seed) for member in members for seed in sweep.plan.seed_numbers]
        studies = {member.number: sweep.study(member, index) for member in members}
        todo = [pair for pair in wanted if not is_closed(studies[pair[0].number], pair[1])]
        on_rung(index, len(members), len(wanted), len(wanted) - len(todo))
        jobs = (
            Job(studies[member.number], seed, [callback_of(member, index, studies[member.number])])
            for member, seed in todo
        )
        if todo:
            train(jobs, len(todo))


def train_trials(
    sweep: Sweep, trials: Trials, train: Train, on_rung: OnRung, callback_of: CallbackOf
) -> None:
    """Trains what is not finished of a sweep whose members are chosen one by one.

    With one job at a time the members follow from the sweep's seed; with more, also from which is finished first.
    """
    plan = sweep.plan
    count = plan.count * plan.seeds
    done = sum(len(sweep.plan.seed_numbers) for member in sweep.members) - len(trials.begun()) * plan.seeds
    on_rung(0, plan.count, count, max(0, done))
    jobs = _trial_jobs(sweep, trials, callback_of)
    first = next(jobs, None)
    if first is not None:
        train(_chained(first, jobs), count - max(0, done))


def _trial_jobs(sweep: Sweep, trials: Trials, callback_of: CallbackOf) -> Iterator[Job]:
    for member in _chosen(sweep, trials):
        study = sweep.study(member)

        def tell(progress: Progress, member: Member = member, study: Study = study) -> None:
            if progress.kind == "finished" and all(
                is_closed(study, seed) for seed in sweep.plan.seed_numbers
            ):
                result = read_member(sweep, member)
                trials.tell(member, None if result is None else result.score)

        todo = [seed for seed in sweep.plan.seed_numbers if not is_closed(study, seed)]
        if not todo:  # killed before it could be told
            tell(Progress("finished", sweep.plan.first_seed, study.config.recipe.epochs))
        for seed in todo:
            yield Job(study, seed, [callback_of(member, 0, study), tell])


def _chosen(sweep: Sweep, trials: Trials) -> Iterator[Member]:
    yield from trials.begun()
    while (member := trials.ask()) is not None:
        sweep.members.append(member)
        write_sweep(sweep)
        yield member


def _chained(first: Job, rest: Iterator[Job]) -> Iterator[Job]:
    yield first
    yield from rest


def _promoted(sweep: Sweep, members: list[Member], index: int) -> list[Member]:
    """Those of a rung's members that go on to the next one."""
    results = {member.number: read_member(sweep, member, index - 1) for member in members}
    scores = {number: None if result is None else result.score for number, result in results.items()}
    chosen = promoted(scores, sweep.rungs[index].members)
    return [member for member in members if member.number in chosen]
