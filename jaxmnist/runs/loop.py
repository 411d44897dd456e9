"""The host loop around `jaxmnist.train`: epoch after epoch in chunks of steps, with progress and signals."""

import contextlib
import math
import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxmnist import train
from jaxmnist.config.run import RunConfig
from jaxmnist.data import Dataset
from jaxmnist.errors import CheckpointError, InterruptedRunError
from jaxmnist.models import arch_word
from jaxmnist.runs.checkpoints import Checkpoints, Snapshot, abstract
from jaxmnist.runs.epoch import begin, close_epoch, finish, require_converging
from jaxmnist.runs.folder import require_data_of_run
from jaxmnist.runs.progress import Callback
from jaxmnist.runs.restore import is_changed
from jaxmnist.runs.selection import Results
from jaxmnist.runs.session import Session, place
from jaxmnist.runs.stopping import NO_LIMITS, StopRule
from jaxmnist.runs.teacher import open_teacher
from jaxmnist.runtime.devices import return_freed_memory
from jaxmnist.runtime.files import locked, whereabouts
from jaxmnist.runtime.jax_settings import own_settings
from jaxmnist.runtime.mesh import Where, everywhere, put, run_alone
from jaxmnist.runtime.signals import StopSignals
from jaxmnist.runtime.team import ALONE, Team
from jaxmnist.train.jit import build_programs

CHUNK_SECONDS = 0.4
"""Target duration of a device call, short enough that progress moves and a signal is honoured within a second."""

SECONDS_TO_STOP = 1.0
"""Time after a signal for the work in progress; then the state from before it is saved."""

TEAM_SECONDS_TO_STOP = 10.0
"""The same with several processes, which must all learn of the signal."""

SAVE_SECONDS = 60.0
"""Age of the last checkpoint after which one is saved in the middle of an epoch."""


@own_settings()
def fit(
    config: RunConfig,
    dataset: Dataset,
    run: Path,
    where: Where,
    callbacks: Sequence[Callback] = (),
    team: Team = ALONE,
    stop_rule: StopRule = NO_LIMITS,
) -> Results:
    """Trains to the recipe's last epoch, from the run's newest checkpoint if there is one.

    Args:
        config: configuration of the run.
        dataset: the data that `config.dataset` names.
        run: an existing run folder, for metrics, checkpoints and results.
        where: a device, or a mesh of several.
        callbacks: functions called with the progress; each process calls its own.
        team: the processes that train this run together on a mesh over all of them. All call this function with the
            same arguments; only the leader reads and writes the run folder.
        stop_rule: limits of this session.

    Returns:
        The contents of `results.json`.

    Raises:
        DivergedError: training diverged; the last good checkpoint is kept.
        InterruptedRunError: SIGINT, SIGTERM or SIGHUP arrived; the state was saved first.
        StorageError: the last checkpoint or the results could not be saved; earlier failures are warnings.
        CheckpointError: a checkpoint of the run or of its teacher cannot be used.
        DataError: the run was started on other data.
        SelfCheckError: the processes of a team compute different states.
        UsageError: another process uses the run folder, it is not writable, or the disk is full.
    """
    began = time.perf_counter()
    require_data_of_run(config, dataset, run)
    if is_changed(config):
        raise CheckpointError(
            f"{run} was trained with another {config.arch}: the file has changed; restore it or start a new run."
        )
    seconds = SECONDS_TO_STOP if team is ALONE else TEAM_SECONDS_TO_STOP
    stop_signals = StopSignals(seconds, f"interrupted; resume with --resume {run}")
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(
            stop_signals
        )  # first, so that no signal cuts off the release of the others
        require_lock = stack.enter_context(locked(run)) if team.is_leader else None
        now = stack.enter_context(whereabouts(run)) if team.is_leader else None
        data = place(dataset, config, where)
        total_steps = config.recipe.total_steps(len(data.train_split))
        session = Session(
            config=config,
            run=run,
            where=where,
            programs=build_programs(
                config.create_model(), config.recipe, where, total_steps, open_teacher(config)
            ),
            keys=put(train.Keys.from_seed(config.seed), everywhere(where)),
            data=data,
            checkpoints=Checkpoints(run, arch_word(config.arch), config),
            stop=stop,
            callbacks=callbacks,
            team=team,
            require_lock=require_lock,
            whereabouts=now,
        )
        with _compiling_ahead(session):
            snapshot, rows = begin(session)
        team.barrier()
        session.tell("start", len(rows))
        # A resumed run may have waited for a better epoch long enough; its time begins anew.
        stopped = stop_rule.reason(config, rows, -math.inf) if rows else None
        while len(rows) < config.recipe.epochs and stopped is None:
            snapshot = train_epoch(session, snapshot, rows)
            snapshot = close_epoch(session, snapshot, rows)
            session.tell("epoch", len(rows), session.batches, row=rows[-1])
            session.end_if_asked()
            if len(rows) < config.recipe.epochs:
                stopped = team.agree(stop_rule.reason(config, rows, time.perf_counter() - began))
        results = finish(session, snapshot, rows, stopped if len(rows) < config.recipe.epochs else None)
        session.end_if_asked()
    return results


@contextlib.contextmanager
def _compiling_ahead(session: Session) -> Iterator[None]:
    """Context manager that compiles the training programs, the longest part of a start, in a thread.

    Errors are ignored; the calls themselves then compile again and raise them.
    """
    programs, keys, data = session.programs, session.keys, session.data
    shapes = jax.eval_shape(partial(programs.create_state, keys.init)), train.no_metrics()
    state, metrics = abstract(shapes, session.where)

    @own_settings()  # a thread starts with the process's settings
    def compile_programs() -> None:
        with contextlib.suppress(Exception):
            order = programs.epoch_order(keys.order, np.int32(0), data.train_split)
            arguments = state, metrics, data.visit(order), np.int32(0), np.int32(1), keys.step
            programs.train_chunk.lower(*arguments).compile()
            # With several processes also evaluation, since a process that waits for another's compiler gives up.
            for order, _ in data.eval_splits.values() if session.team.size > 1 else ():
                arguments = state, metrics, data.visit(order), np.int32(0), np.int32(1)
                programs.evaluate_chunk.lower(*arguments).compile()

    thread = threading.Thread(target=compile_programs)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        return_freed_memory()


def train_epoch(session: Session, snapshot: Snapshot, rows: list[dict[str, Any]]) -> Snapshot:
    """Takes the remaining steps of the epoch after those in `rows`; errors as for `fit`."""
    data, keys, batches, epoch = session.data, session.keys, session.batches, len(rows)
    state, metrics, seconds, _ = snapshot
    began = saved = time.perf_counter()
    order = session.programs.epoch_order(keys.order, np.int32(epoch), data.train_split)
    done = int(state.step) - epoch * batches
    # The first chunk is one step: progress shows at once, and its time decides the length of the next chunk.
    steps = 1
    while done < batches:
        chunk_began = time.perf_counter()
        steps = min(steps, batches - done)
        chunk = data.visit(order), np.int32(done), np.int32(steps), keys.step
        state, metrics = run_alone(session.programs.train_chunk, state, metrics, *chunk)
        sums = jax.device_get(metrics)
        done += steps
        now = time.perf_counter()
        steps = max(1, round(CHUNK_SECONDS * steps / (now - chunk_began)))
        steps, is_due = session.team.agree((steps, now - saved > SAVE_SECONDS))
        require_converging(session, sums, epoch)
        session.tell("step", epoch + 1, done, sums)
        snapshot = Snapshot(state, metrics, seconds + now - began, list(rows))
        try:
            session.end_if_asked()
        except InterruptedRunError:
            session.save_last(snapshot)
            raise
        if is_due:
            with session.or_warning():
                session.save(snapshot)
            session.team.barrier()
            saved = now
    return snapshot
