"""Work between the epochs of a run: begin or resume, close an epoch, finish."""

import hashlib
import json
import math
import shutil
import time
import warnings
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import PyTree

from jaxmnist import train
from jaxmnist.errors import (
    DivergedError,
    JaxmnistWarning,
    SelfCheckError,
    StorageError,
    UsageError,
    writing,
)
from jaxmnist.models import count_params
from jaxmnist.optim import learning_rate, observe
from jaxmnist.runs import selection
from jaxmnist.runs.checkpoints import Snapshot, abstract
from jaxmnist.runs.environment import warn_of_settings
from jaxmnist.runs.folder import METRICS, RESULTS, read_metrics, write_metrics
from jaxmnist.runs.initial import initial_state
from jaxmnist.runs.record import write_results
from jaxmnist.runs.session import Session, means
from jaxmnist.runs.storage import room_for
from jaxmnist.runs.weights import save_best
from jaxmnist.runtime.devices import peak_memory
from jaxmnist.runtime.mesh import first_device, run_alone
from jaxmnist.runtime.team import Team
from jaxmnist.train.jit import EVAL_BATCH


def begin(session: Session) -> tuple[Snapshot, list[dict[str, Any]]]:
    """Returns the newest snapshot, or a first one, and its lines of metrics, which `metrics.jsonl` then holds.

    Raises:
        CheckpointError: there are checkpoints, but none can be restored.
        UsageError: the disk has no room for the run's checkpoints.
    """
    run, snapshot = session.run, _first_snapshot(session)
    rows = list(snapshot.rows)
    if not session.team.is_leader:
        return snapshot, rows
    needed = 4 * room_for(snapshot.state)  # for a moment there are four checkpoints
    free = shutil.disk_usage(run).free
    if free < needed:
        raise UsageError(
            f"the disk of {run} has {free / 2**20:.1f} MiB free, and the run needs {needed / 2**20:.1f} MiB for its "
            "checkpoints; make room or train elsewhere with --runs."
        )
    if int(snapshot.state.step):
        warn_of_settings(run)
    if session.config.recipe.precision == "bfloat16" and first_device(session.where).platform == "cpu":
        message = "the precision bfloat16 makes a CPU round and no faster; it is for accelerators."
        warnings.warn(message, JaxmnistWarning, stacklevel=3)
    present = read_metrics(run)
    # The last line may be missing: it is written after the checkpoint.
    if json.dumps(present[: len(rows)]) not in (json.dumps(rows), json.dumps(rows[:-1])):
        message = f"{run / METRICS} differs from the run's checkpoint; it is restored from the checkpoint."
        warnings.warn(message, JaxmnistWarning, stacklevel=3)
    with session.or_warning():
        write_metrics(run, rows)
    return snapshot, rows


def close_epoch(session: Session, snapshot: Snapshot, rows: list[dict[str, Any]]) -> Snapshot:
    """Evaluates after an epoch, updates the plateau, saves state and metrics, and appends the epoch's line to `rows`.

    Raises:
        StorageError: this is the last save of the session, and it failed.
        SelfCheckError: the processes of a team hold different states.
    """
    began = time.perf_counter()
    state, metrics, seconds, _ = snapshot
    select_on, plateau = session.config.select_on, session.config.recipe.plateau
    sums = jax.device_get(metrics)
    train_loss, train_accuracy = means(sums)
    row = {
        "epoch": len(rows) + 1,
        "step": int(state.step),
        # Seven digits, as many as a float32 has: 0.01 rather than 0.009999999776482582.
        "learning_rate": float(f"{learning_rate(state.opt_state):.7g}"),
        "train_loss": train_loss,
        "train_accuracy": train_accuracy,
    }
    if sums.skipped:
        row["skipped_steps"] = int(sums.skipped)
        message = (
            f"{sums.skipped} steps of epoch {row['epoch']} were skipped: the loss, a gradient, a weight or a running "
            "statistic was not finite."
        )
        warnings.warn(message, JaxmnistWarning, stacklevel=3)
    with session.stop.busy(lambda: session.save(snapshot)):
        for split in session.data.eval_splits:
            row |= _evaluate(session, state, split)
            if state.average is not None:
                # In place of the average, so that one compiled program evaluates both.
                last = state._replace(average=state.last_variables)
                row |= _evaluate(session, last, split, "plain_")
        if plateau is not None:
            metric = row[f"{select_on}_{plateau.monitor}"]
            if isinstance(session.where, Mesh):  # on the host, where every process has the whole state
                observed = jax.device_get(observe(jax.device_get(state.opt_state), metric))
                state = state._replace(opt_state=session.placed(observed))
            else:
                state = state._replace(opt_state=observe(state.opt_state, metric))
    row["seconds"] = round(seconds + time.perf_counter() - began, 3)
    if (memory := peak_memory(first_device(session.where))) is not None:
        row["peak_memory_bytes"] = memory
    best = selection.is_best(session.config, rows, row)
    rows.append(row)
    snapshot = _between_epochs(session, state, rows)
    if session.team.is_leader:
        _write(session, snapshot, rows, best)
    if session.team.size > 1:
        # Every process computes the whole state; on different processors the bytes may differ.
        content = b"".join(leaf.tobytes() for leaf in jax.device_get(jax.tree.leaves(state)))
        if differing := session.team.barrier(hashlib.sha256(content).digest()):
            raise SelfCheckError(
                f"process {differing[0]} and process 0 hold different states after epoch {row['epoch']}, as their "
                f"processors compute different bytes; use machines of one kind and resume with --resume {session.run}."
            )
    return snapshot


def _write(session: Session, snapshot: Snapshot, rows: list[dict[str, Any]], best: bool) -> None:
    session.check_lock()
    state, row, score = snapshot.state, rows[-1], selection.score(session.config, rows[-1])
    # The checkpoint holds the lines, too. If it is not written, the epoch is repeated, and the weights with it.
    if best:
        with session.or_warning():
            save_best(session.run, session.config, state.variables, row)
    if len(rows) == session.config.recipe.epochs or session.stop.requested is not None:
        session.save_last(snapshot, score, best)
    else:
        with session.or_warning():
            session.save(snapshot, score, best)
    with session.or_warning():
        write_metrics(session.run, rows)


def finish(
    session: Session, snapshot: Snapshot, rows: list[dict[str, Any]], stopped: str | None = None
) -> selection.Results:
    """Computes the results of a complete run, or of one that a rule `stopped` before, and writes them.

    Raises:
        StorageError: they cannot be written.
    """
    results = selection.summarise(
        session.config, rows, count_params({"params": snapshot.state.params}), stopped
    )
    if session.team.is_leader:
        with writing(session.run / RESULTS, f"resume with --resume {session.run}", StorageError, mend=True):
            write_results(session.run, results, rows)
    return results


def require_converging(session: Session, sums: train.Metrics, epoch: int) -> None:
    """Checks that training has not diverged in the epoch after `epoch` completed ones.

    Raises:
        DivergedError: `MOST_BAD_STEPS` consecutive steps were skipped.
    """
    if int(sums.bad_step) == train.NO_BAD_STEP:
        return
    raise DivergedError(
        f"training diverged in epoch {epoch + 1}, step {int(sums.bad_step)}: in {train.MOST_BAD_STEPS} consecutive "
        f"steps the loss, a gradient or a weight was not finite ({session.kept} in {session.run}); "
        f"lower --learning-rate, now {session.config.recipe.learning_rate:g}."
    )


def _between_epochs(session: Session, state: train.TrainState, rows: list[dict[str, Any]]) -> Snapshot:
    return Snapshot(state, session.placed(train.no_metrics()), 0.0, list(rows))


def _first_snapshot(session: Session) -> Snapshot:
    create_fresh = partial(session.programs.create_state, session.keys.init)
    shapes = jax.eval_shape(create_fresh), train.no_metrics()
    found = session.team.is_leader and session.checkpoints.latest_step() is not None
    if session.team.size == 1:
        if not found:
            return _between_epochs(session, session.placed(initial_state(create_fresh(), session.config)), [])
        return session.checkpoints.restore_latest(*abstract(shapes, session.where))
    # The leader sends its state, so no other process reads the folder, and all start from the same bytes.
    snapshot = None
    if found:
        snapshot = session.checkpoints.restore_latest(*abstract(shapes, first_device(session.where)))
    seconds, rows = session.team.agree((snapshot.seconds, snapshot.rows) if snapshot else (0.0, None))
    if rows is None:
        state, metrics = create_fresh(), train.no_metrics()
        state = initial_state(state, session.config) if session.team.is_leader else state
    else:
        state, metrics = snapshot[:2] if snapshot else shapes
    state, metrics = session.placed(_shared(session.team, (state, metrics)))
    return Snapshot(state, metrics, seconds, rows or [])


def _shared(team: Team, tree: PyTree) -> PyTree:
    """Returns the leader's arrays in every process; the other processes pass shapes and dtypes."""
    leaves, structure = jax.tree.flatten(tree)
    leaves = jax.device_get(leaves) if team.is_leader else leaves
    content = team.share(b"".join(np.asarray(leaf).tobytes() for leaf in leaves) if team.is_leader else b"")
    shared, start = [], 0
    for leaf in leaves:
        dtype, count = np.dtype(leaf.dtype), math.prod(leaf.shape)
        shared.append(np.frombuffer(content, dtype, count, start).reshape(leaf.shape))
        start += count * dtype.itemsize
    return jax.tree.unflatten(structure, shared)


def _evaluate(session: Session, state: train.TrainState, split: str, prefix: str = "") -> dict[str, Any]:
    data = session.data
    order, examples = data.eval_splits[split]
    batches = np.int32(-(-examples // EVAL_BATCH))
    arguments = session.placed(train.no_metrics()), data.visit(order), np.int32(0), batches
    sums = jax.device_get(run_alone(session.programs.evaluate_chunk, state, *arguments))
    loss, accuracy = means(sums)
    values = {"loss": loss, "accuracy": accuracy, "correct": int(sums.correct), "examples": examples}
    return {f"{prefix}{split}_{name}": value for name, value in values.items()}
