"""The host loop around `jaxmnist.train`: epoch after epoch in chunks of steps, with progress and signals."""

import contextlib
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmnist import runs, train
from jaxmnist.checkpoints import Checkpoints, Snapshot, abstract
from jaxmnist.config import RunConfig
from jaxmnist.data import Dataset
from jaxmnist.durable import locked
from jaxmnist.epochs import begin, close_epoch, finish, means, require_converging
from jaxmnist.parallel import Device
from jaxmnist.programs import build_programs
from jaxmnist.session import Observer, Session, place
from jaxmnist.signals import StopSignals

CHUNK_SECONDS = 0.4
"""Aimed length of a device call: progress moves, and a signal is honoured within a second."""

SECONDS_TO_STOP = 1.0
"""After a signal: time for the chunk in progress; then the state before what takes longer is saved."""

SAVE_SECONDS = 60.0
"""A checkpoint in the middle of an epoch when the last one is older than this."""


def fit(config: RunConfig, dataset: Dataset, run: Path, device: Device, observer: Observer) -> dict[str, Any]:
    """Trains until the recipe's last epoch, from the run's newest checkpoint where there is one.

    Args:
        config: what to train.
        dataset: the data that `config.dataset` names.
        run: an existing run folder; metrics, checkpoints and results are written there.
        device: where to compute.
        observer: told about progress.

    Returns:
        The contents of `results.json`.

    Raises:
        DivergedError: so many steps in a row were not finite that there is no way on; the last good
            checkpoint stays.
        InterruptedRunError: SIGINT or SIGTERM arrived; the state was saved first.
        StorageError: the last state or the results could not be saved. While training goes on, a save that
            fails is no more than a warning.
        CheckpointError: the run's checkpoint cannot be used.
        DataError: the run began on other data.
        UsageError: another process uses the run's folder, or it cannot be written to, or the disk is full.
    """
    runs.require_data_of_run(config, dataset, run)
    stop_signals = StopSignals(SECONDS_TO_STOP, f"interrupted; go on with --resume {run}")
    with locked(run), stop_signals as stop:
        data = place(dataset, config, device)
        total_steps = config.recipe.total_steps(len(data.train_split))
        session = Session(
            config=config,
            run=run,
            device=device,
            programs=build_programs(config.create_model(), config.recipe, device, total_steps),
            keys=jax.device_put(train.Keys.from_seed(config.seed), device),
            data=data,
            checkpoints=Checkpoints(run, config.arch, config.recipe),
            stop=stop,
            observer=observer,
        )
        with _compiling_ahead(session):
            snapshot, rows = begin(session)
        observer.on_start(len(rows))
        while len(rows) < config.recipe.epochs:
            snapshot = train_epoch(session, snapshot, rows)
            snapshot = close_epoch(session, snapshot, rows)
            observer.on_epoch(rows[-1])
            session.end_if_asked()
        results = finish(session, snapshot, rows)
        session.end_if_asked()
    return results


@contextlib.contextmanager
def _compiling_ahead(session: Session) -> Iterator[None]:
    """Compiles the order of an epoch and the chunk, the longest part of a start, beside what is done within.

    Errors are left to the calls themselves, which then compile again.
    """
    programs, keys, data = session.programs, session.keys, session.data
    shapes = jax.eval_shape(partial(programs.create_state, keys.init)), train.no_metrics()
    state, metrics = abstract(shapes, session.device)

    def compile_programs() -> None:
        with contextlib.suppress(Exception):
            order = programs.epoch_order(keys.order, jnp.int32(0), data.train_split)
            arguments = state, metrics, data.images, data.labels, order, np.int32(0), np.int32(1), keys.step
            programs.train_chunk.lower(*arguments).compile()

    thread = threading.Thread(target=compile_programs)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def train_epoch(session: Session, snapshot: Snapshot, rows: list[dict[str, Any]]) -> Snapshot:
    """Takes the steps of an epoch that are still to be taken."""
    data, keys, batches, epoch = session.data, session.keys, session.batches, len(rows)
    state, metrics, seconds, _ = snapshot
    began = saved = time.perf_counter()
    order = session.programs.epoch_order(keys.order, jnp.int32(epoch), data.train_split)
    done = int(state.step) - epoch * batches
    # One step first: progress shows at once, and its time tells how many make a chunk.
    steps = 1
    while done < batches:
        chunk_began = time.perf_counter()
        steps = min(steps, batches - done)
        state, metrics = session.programs.train_chunk(
            state, metrics, data.images, data.labels, order, np.int32(done), np.int32(steps), keys.step
        )
        sums = jax.device_get(metrics)
        done += steps
        now = time.perf_counter()
        steps = max(1, round(CHUNK_SECONDS * steps / (now - chunk_began)))
        require_converging(session, sums, epoch)
        session.observer.on_progress(epoch + 1, done, batches, *means(sums))
        snapshot = Snapshot(state, metrics, seconds + now - began, list(rows))
        if session.stop.requested is not None:
            session.save_last(snapshot)
            session.end_if_asked()
        if now - saved > SAVE_SECONDS:
            with session.or_warning():
                session.save(snapshot)
            saved = now
    return snapshot
