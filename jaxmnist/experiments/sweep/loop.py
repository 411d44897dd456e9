"""The loop of a sweep: makes the jobs of its members, rung by rung or trial by trial."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from jaxmnist.experiments.study.folder import Study, is_closed
from jaxmnist.experiments.study.jobs import Job
from jaxmnist.experiments.sweep.folder import Sweep, write_sweep
from jaxmnist.experiments.sweep.halving import promoted
from jaxmnist.experiments.sweep.members import Member
from jaxmnist.experiments.sweep.table import read_member
from jaxmnist.runs.progress import Callback, Progress

if TYPE_CHECKING:
    from jaxmnist.experiments.sweep.optuna_trials import TpeTrials

Train = Callable[[Iterable[Job], int], None]
"""Trains jobs, given with their largest number; returns when all are finished."""

OnRung = Callable[[int, int, int, int], None]
"""Called at the start of a rung: (rung from 0, its members, its jobs, jobs already done). A sweep without halving has
one rung."""
CallbackOf = Callable[[Member, int, Study], Callback]
"""Makes the callback for the seeds of a member: (member, rung, study) -> callback."""


def train_sweep(
    sweep: Sweep, train: Train, on_rung: OnRung, callback_of: CallbackOf, shard: tuple[int, int] = (0, 1)
) -> None:
    """Trains the unfinished seeds of a sweep whose members are known, a job for each member and seed.

    Args:
        sweep: the sweep.
        train: trains the jobs.
        on_rung: called at the start of every rung.
        callback_of: makes the callbacks for progress.
        shard: (I, N) selects the members whose number is I modulo N; with halving, all of them.

    Raises:
        JaxmnistError: an error of `train`.
    """
    index, count = shard
    members = [
        member
        for member in sweep.members
        if member.number <= sweep.plan.count and member.number % count == index
    ]
    for rung in range(max(1, len(sweep.rungs))):
        if rung:
            members = _promoted(sweep, members, rung)
        jobs = []
        for member in members:
            study = sweep.study(member, rung)
            callbacks = [callback_of(member, rung, study)]
            jobs += [Job(study, seed, callbacks) for seed in sweep.plan.seed_numbers]
        todo = [job for job in jobs if not is_closed(job.study, job.seed)]
        on_rung(rung, len(members), len(jobs), len(jobs) - len(todo))
        if todo:
            train(todo, len(todo))


def train_trials(
    sweep: Sweep, trials: "TpeTrials", train: Train, on_rung: OnRung, callback_of: CallbackOf
) -> None:
    """Trains the unfinished seeds of a sweep whose members are chosen one by one.

    With one job at a time the members follow from the sweep's seed; with several, also from the order in which jobs
    finish.
    """
    count = sweep.plan.count * sweep.plan.seeds
    done = (len(sweep.members) - len(trials.begun())) * sweep.plan.seeds
    on_rung(0, sweep.plan.count, count, done)
    jobs = _trial_jobs(sweep, trials, callback_of)
    first = next(jobs, None)
    if first is not None:
        train(itertools.chain([first], jobs), max(1, count - done))


def _trial_jobs(sweep: Sweep, trials: "TpeTrials", callback_of: CallbackOf) -> Iterator[Job]:
    for member in _chosen(sweep, trials):
        study = sweep.study(member)

        def tell(progress: Progress, member: Member = member, study: Study = study) -> None:
            seeds = sweep.plan.seed_numbers
            if progress.kind == "finished" and all(is_closed(study, seed) for seed in seeds):
                result = read_member(sweep, member)
                trials.tell(member, None if result is None else result.score)

        todo = [seed for seed in sweep.plan.seed_numbers if not is_closed(study, seed)]
        if not todo:  # killed before its score was told
            tell(Progress("finished", sweep.plan.first_seed, study.config.recipe.epochs))
        callback = callback_of(member, 0, study)
        for seed in todo:
            yield Job(study, seed, [callback, tell])


def _chosen(sweep: Sweep, trials: "TpeTrials") -> Iterator[Member]:
    yield from trials.begun()
    while (member := trials.ask()) is not None:
        sweep.members.append(member)
        write_sweep(sweep)
        yield member


def _promoted(sweep: Sweep, members: list[Member], rung: int) -> list[Member]:
    """Returns the members of the rung before that are trained on this one."""
    results = {member.number: read_member(sweep, member, rung - 1) for member in members}
    scores = {number: None if result is None else result.score for number, result in results.items()}
    chosen = promoted(scores, sweep.rungs[rung].members)
    return [member for member in members if member.number in chosen]
