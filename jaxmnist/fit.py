"""The host loop around `jaxmnist.train`: order of epochs, selection, progress, checkpoints, signals."""

import contextlib
import json
import math
import shutil
import threading
import time
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmnist import runs, train
from jaxmnist.checkpoints import Checkpoints, Snapshot, abstract
from jaxmnist.checkpoints.states import room_for
from jaxmnist.config import RunConfig
from jaxmnist.data import Dataset
from jaxmnist.durable import locked
from jaxmnist.errors import DivergedError, JaxmnistWarning, StorageError, UsageError
from jaxmnist.models import count_params
from jaxmnist.optim import learning_rate, observe
from jaxmnist.parallel import Device
from jaxmnist.programs import EVAL_BATCH, build_programs
from jaxmnist.session import Observer, Session, place
from jaxmnist.signals import StopSignals
from jaxmnist.weights import save_best

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
        session = Session(
            config=config,
            run=run,
            device=device,
            programs=build_programs(config.create_model(), config.recipe, device),
            keys=jax.device_put(train.Keys.from_seed(config.seed), device),
            data=place(dataset, config, device),
            checkpoints=Checkpoints(run, config.arch, config.recipe),
            stop=stop,
            observer=observer,
        )
        with _compiling_ahead(session):
            snapshot, rows = _begin(session)
        observer.on_start(len(rows))
        while len(rows) < config.recipe.epochs:
            snapshot = _train_epoch(session, snapshot, rows)
            snapshot = _close_epoch(session, snapshot, rows)
            observer.on_epoch(rows[-1])
            session.end_if_asked()
        results = _finish(session, snapshot, rows)
        session.end_if_asked()
    return results


def _begin(session: Session) -> tuple[Snapshot, list[dict[str, Any]]]:
    """Where the run stands, and the lines of its epochs so far, which `metrics.jsonl` then holds."""
    run = session.run
    snapshot = _first_snapshot(session)
    _require_space(session, snapshot)
    rows = list(snapshot.rows)
    present = runs.read_metrics(run)
    # The line of the last epoch may be missing: it is written after the state.
    if json.dumps(present[: len(rows)]) not in (json.dumps(rows), json.dumps(rows[:-1])):
        message = (
            f"{run / runs.METRICS} is not as the run left it; the checkpoint's lines are put in its place."
        )
        warnings.warn(message, JaxmnistWarning, stacklevel=3)
    with session.or_warning():
        runs.write_metrics(run, rows)
    return snapshot, rows


def _first_snapshot(session: Session) -> Snapshot:
    create_state = partial(session.programs.create_state, session.keys.init)
    if session.checkpoints.latest_step() is None:
        return _between_epochs(session, jax.device_put(create_state(), session.device), [])
    shapes = jax.eval_shape(create_state), train.no_metrics()
    return session.checkpoints.restore_latest(*abstract(shapes, session.device))


def _require_space(session: Session, snapshot: Snapshot) -> None:
    needed = 4 * room_for(snapshot.state)  # four states lie there for a moment
    free = shutil.disk_usage(session.run).free
    if free < needed:
        raise UsageError(
            f"the disk of {session.run} has {free / 2**20:.1f} MiB free, and the run needs "
            f"{needed / 2**20:.1f} MiB for its checkpoints; make room or train elsewhere with --runs."
        )


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


def _between_epochs(session: Session, state: train.TrainState, rows: list[dict[str, Any]]) -> Snapshot:
    return Snapshot(state, jax.device_put(train.no_metrics(), session.device), 0.0, list(rows))


def _train_epoch(session: Session, snapshot: Snapshot, rows: list[dict[str, Any]]) -> Snapshot:
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
        _require_converging(session, sums, epoch)
        session.observer.on_progress(epoch + 1, done, batches, *_means(sums))
        snapshot = Snapshot(state, metrics, seconds + now - began, list(rows))
        if session.stop.requested is not None:
            session.save_last(snapshot)
            session.end_if_asked()
        if now - saved > SAVE_SECONDS:
            with session.or_warning():
                session.save(snapshot)
            saved = now
    return snapshot


def _close_epoch(session: Session, snapshot: Snapshot, rows: list[dict[str, Any]]) -> Snapshot:
    """Evaluates after an epoch, lets the schedule observe, and writes down state and metrics, also in `rows`."""
    began = time.perf_counter()
    state, metrics, seconds, _ = snapshot
    select_on, plateau = session.config.select_on, session.config.recipe.plateau
    sums = jax.device_get(metrics)
    train_loss, train_accuracy = _means(sums)
    row = {
        "epoch": len(rows) + 1,
        "step": int(state.step),
        # Seven digits are what a float32 holds: 0.01 rather than 0.009999999776482582.
        "learning_rate": float(f"{learning_rate(state.opt_state):.7g}"),
        "train_loss": train_loss,
        "train_accuracy": train_accuracy,
    }
    if sums.skipped:
        row["skipped_steps"] = int(sums.skipped)
        what = f"{sums.skipped} steps of epoch {row['epoch']} were skipped"
        message = f"{what}: the loss, a gradient, a weight or a running statistic was not finite."
        warnings.warn(message, JaxmnistWarning, stacklevel=3)
    with session.stop.busy(lambda: session.save(snapshot)):
        for split in session.data.eval_splits:
            row |= _evaluate(session, state, split)
        if plateau is not None:
            state = state._replace(opt_state=observe(state.opt_state, row[f"{select_on}_{plateau.monitor}"]))
    row["seconds"] = round(seconds + time.perf_counter() - began, 3)
    best = runs.is_best(session.config, rows, row)
    rows.append(row)
    snapshot = _between_epochs(session, state, rows)
    accuracy = row[f"{select_on}_accuracy"]
    # The state last, as it holds the lines and stands for all: what is before it is written again if it is not.
    if best:
        with session.or_warning():
            save_best(session.run, session.config, state, row["epoch"], accuracy)
    if len(rows) == session.config.recipe.epochs or session.stop.requested is not None:
        session.save_last(snapshot, accuracy, best)
    else:
        with session.or_warning():
            session.save(snapshot, accuracy, best)
    with session.or_warning():
        runs.write_metrics(session.run, rows)
    return snapshot


def _finish(session: Session, snapshot: Snapshot, rows: list[dict[str, Any]]) -> dict[str, Any]:
    results = runs.summarise(session.config, rows, count_params({"params": snapshot.state.params}))
    try:
        runs.write_metrics(session.run, rows)
        runs.write_json(session.run / runs.RESULTS, results)
    except OSError as error:
        reason = f"{session.run / runs.RESULTS} could not be written ({error.strerror})"
        raise StorageError(f"{reason}; make room and go on with --resume {session.run}") from error
    return results


def _evaluate(session: Session, state: train.TrainState, split: str) -> dict[str, Any]:
    data = session.data
    order, examples = data.eval_splits[split]
    nothing = jax.device_put(train.no_metrics(), session.device)
    batches = np.int32(-(-examples // EVAL_BATCH))
    sums = jax.device_get(
        session.programs.evaluate_chunk(state, nothing, data.images, data.labels, order, np.int32(0), batches)
    )
    loss, accuracy = _means(sums)
    values = {"loss": loss, "accuracy": accuracy, "correct": int(sums.correct), "examples": examples}
    return {f"{split}_{name}": value for name, value in values.items()}


def _require_converging(session: Session, sums: train.Metrics, epoch: int) -> None:
    if int(sums.bad_step) == train.NO_BAD_STEP:
        return
    raise DivergedError(
        f"training diverged in epoch {epoch + 1}, step {int(sums.bad_step)}: in {train.MOST_BAD_STEPS} steps in a "
        f"row the loss, a gradient or a weight was not finite ({session.kept} in {session.run}); "
        f"lower --learning-rate, now {session.config.recipe.learning_rate:g}."
    )


def _means(sums: train.Metrics) -> tuple[float, float]:
    """Mean loss and accuracy in percent; not a number where every step was skipped."""
    examples = int(sums.examples)
    if not examples:
        return math.nan, math.nan
    return float(sums.loss_sum) / examples, 100.0 * int(sums.correct) / examples
