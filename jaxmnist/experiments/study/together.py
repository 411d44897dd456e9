"""Training of several seeds in one program, for a device that a single seed leaves mostly idle.

Between epochs every seed is an ordinary run: it is evaluated, saved and logged as by `jaxmnist.runs.loop`, and can
resume alone. Within an epoch nothing is saved: an interrupted epoch is repeated.
"""

import contextlib
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import PyTree

from jaxmnist import train
from jaxmnist.config import Recipe
from jaxmnist.data import Dataset
from jaxmnist.errors import InterruptedRunError
from jaxmnist.experiments.study.folder import Study, is_finished
from jaxmnist.experiments.study.jobs import RESUME, Job, finish_job
from jaxmnist.models import Model, arch_word
from jaxmnist.runs.checkpoints import Checkpoints, Snapshot
from jaxmnist.runs.epoch import begin, close_epoch, finish, require_converging
from jaxmnist.runs.folder import open_run
from jaxmnist.runs.loop import CHUNK_SECONDS, SECONDS_TO_STOP, TEAM_SECONDS_TO_STOP, train_epoch
from jaxmnist.runs.progress import Callback
from jaxmnist.runs.session import Data, Session, place
from jaxmnist.runs.teacher import open_teacher
from jaxmnist.runtime.files import locked
from jaxmnist.runtime.jax_settings import own_settings
from jaxmnist.runtime.mesh import (
    SEED,
    Where,
    all_on_data,
    along,
    everywhere,
    first_device,
    mesh_shape,
    put,
    run_alone,
)
from jaxmnist.runtime.signals import StopSignals
from jaxmnist.runtime.team import ALONE, Team
from jaxmnist.train import vmapped
from jaxmnist.train.jit import build_programs, compiler_options_for, jitted
from jaxmnist.train.loss import Teacher


class _Member:
    """A seed of a group, with the state of its run."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.snapshot, self.rows = begin(session)

    def close(self, snapshot: Snapshot) -> None:
        """Evaluates, saves and reports the end of an epoch."""
        self.snapshot = close_epoch(self.session, snapshot, self.rows)
        self.session.tell("epoch", len(self.rows), self.session.batches, row=self.rows[-1])


@own_settings()
def train_together(
    study: Study,
    seeds: Sequence[int],
    dataset: Dataset,
    where: Where,
    callbacks: Sequence[Callback],
    environment: Mapping[str, Any],
    together: int,
    team: Team = ALONE,
) -> None:
    """Trains the seeds that are not finished, several at once.

    Figures are those of single runs up to the rounding of float32. The time of an epoch is divided evenly among the
    seeds. On a mesh each part of the axis `seed` trains its share of a group; a group that does not divide evenly is
    padded with copies whose results are dropped.

    Args:
        study: the study.
        seeds: the seeds.
        dataset: the data of the study.
        where: a device, or a mesh of several.
        callbacks: called with the progress of every seed.
        environment: as for `jaxmnist.runs.folder.open_run`.
        together: number of seeds in a group, which trains at once.
        team: the processes that train together.

    Raises:
        InterruptedRunError: SIGINT, SIGTERM or SIGHUP arrived; the last complete epoch of each seed is saved.
        JaxmnistError: as for `jaxmnist.runs.loop.fit`.
    """
    todo = team.agree([seed for seed in seeds if not is_finished(study, seed)] if team.is_leader else None)
    if not todo:
        return
    # Evaluation, and an epoch that a seed began alone, go seed by seed, each on all devices.
    single = all_on_data(where)
    data = place(dataset, study.config, single)
    group_data = data if single == where else place(dataset, study.config, where)
    recipe, model, teacher = study.config.recipe, study.config.create_model(), open_teacher(study.config)
    total_steps = recipe.total_steps(len(data.train_split))
    programs = build_programs(model, recipe, single, total_steps, teacher)
    group_programs = _build_programs(model, recipe, where, total_steps, teacher)
    seconds = SECONDS_TO_STOP if team is ALONE else TEAM_SECONDS_TO_STOP
    for first in range(0, len(todo), together):
        group = todo[first : first + together]
        with contextlib.ExitStack() as stack:
            stop = stack.enter_context(StopSignals(seconds, f"interrupted; {RESUME}"))
            members = []
            for seed in group:
                config, run, require_lock = study.seed_config(seed), study.run(seed), None
                if team.is_leader:
                    open_run(run, config, environment)
                    require_lock = stack.enter_context(locked(run))
                session = Session(
                    config=config,
                    run=run,
                    where=single,
                    programs=programs,
                    keys=put(train.Keys.from_seed(seed), everywhere(single)),
                    data=data,
                    checkpoints=Checkpoints(run, arch_word(config.arch), config),
                    stop=stop,
                    callbacks=callbacks,
                    team=team,
                    require_lock=require_lock,
                )
                members.append(_Member(session))
            try:
                _train_group(members, group_programs, where, group_data)
            except InterruptedRunError as error:
                raise InterruptedRunError(error.signum, study.folder, RESUME) from error
        for seed in group if team.is_leader else ():
            finish_job(Job(study, seed, callbacks), dataset, first_device(where))


def _train_group(members: list[_Member], programs: "_Programs", where: Where, data: Data) -> None:
    for one in members:
        if int(one.snapshot.metrics.examples) > 0:  # interrupted within an epoch while it trained alone
            one.close(train_epoch(one.session, one.snapshot, one.rows))
    # The seeds of a group that was interrupted between them are at different epochs.
    while (epoch := min(len(one.rows) for one in members)) < members[0].session.config.recipe.epochs:
        at_epoch = [one for one in members if len(one.rows) == epoch]
        _train_epoch(at_epoch, epoch, programs, where, data)
    for one in members:
        finish(one.session, one.snapshot, one.rows)


def _train_epoch(members: list[_Member], epoch: int, programs: "_Programs", where: Where, data: Data) -> None:
    """Trains members that have completed `epoch` epochs for one more."""
    session = members[0].session
    team = session.team
    train_runs, epoch_orders = programs
    # Padded with copies of the last run to a multiple of the mesh's axis.
    runs_of = [*members, *members[-1:] * (-len(members) % mesh_shape(where).seed)]
    by_seed = along(where, SEED)
    # A key takes the bits of a seed, not its sign.
    seeds = np.array([one.session.config.seed for one in runs_of], np.uint32).view(np.int32)
    varied = vmapped.Varied(put(seeds, by_seed))
    # Stacked on the host, which needs no program for each number of runs and shape.
    parts = jax.device_get([(one.snapshot.state, one.snapshot.metrics) for one in runs_of])
    states, metrics = put(jax.tree.map(lambda *leaves: np.stack(leaves), *parts), by_seed)
    orders = epoch_orders(varied, put(np.int32(epoch), everywhere(where)), data.train_split)
    epoch_data = train.EpochData(data.images, data.labels, orders)
    if team.size > 1:
        train_runs.lower(states, metrics, epoch_data, np.int32(0), np.int32(1), varied).compile()
        team.barrier()
    began = time.perf_counter()
    steps, done = 1, 0
    while done < session.batches:
        chunk_began = time.perf_counter()
        steps = min(steps, session.batches - done)
        chunk = epoch_data, np.int32(done), np.int32(steps)
        states, metrics = run_alone(train_runs, states, metrics, *chunk, varied)
        sums = _fetch(metrics, where)
        done += steps
        steps = team.agree(max(1, round(CHUNK_SECONDS * steps / (time.perf_counter() - chunk_began))))
        for index, one in enumerate(members):
            require_converging(one.session, _pick(sums, index), epoch)
            one.session.tell("step", epoch + 1, done, _pick(sums, index))
        signum = team.agree_on_signal(session.stop.requested)
        if signum is not None:
            raise InterruptedRunError(signum, session.run)
    seconds = (time.perf_counter() - began) / len(members)
    results = _fetch((states, metrics), where)
    for index, one in enumerate(members):
        state, sums = session.placed(_pick(results, index))
        one.close(Snapshot(state, sums, seconds, list(one.rows)))


class _Programs(NamedTuple):
    train_runs: Any
    """(states, metrics, data, start, steps, varied) -> (states, metrics)"""
    epoch_orders: Any
    """(varied, epoch, split) -> orders"""


@functools.lru_cache(maxsize=8)
def _build_programs(
    model: Model, recipe: Recipe, where: Where, total_steps: int, teacher: Teacher | None
) -> _Programs:
    divided = {"out_shardings": along(where, SEED)} if isinstance(where, Mesh) else {}
    train_runs = jitted(
        vmapped.train_runs_on(where, arch=model, recipe=recipe, total_steps=total_steps, teacher=teacher),
        where,
        donate_argnums=(0, 1),
        compiler_options=compiler_options_for(where),
        **divided,
    )
    epoch_orders = partial(vmapped.epoch_orders, recipe=recipe)
    # On one device a handful of small programs compiles faster.
    return _Programs(train_runs, jitted(epoch_orders, where) if isinstance(where, Mesh) else epoch_orders)


def _fetch(tree: PyTree, where: Where) -> PyTree:
    """Returns arrays, which may be divided over processes, on the host of each process."""
    if isinstance(where, Mesh):
        tree = run_alone(_build_gathering(where), tree)
    return jax.device_get(tree)


@functools.lru_cache(maxsize=8)
def _build_gathering(where: Where) -> Callable[[PyTree], PyTree]:
    return jitted(lambda tree: tree, where)


def _pick(stacked: PyTree, index: int) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[index], stacked)
