"""The host loop around `jaxmnist.train`: epochs, selection, progress, checkpoints, signals."""

import os
import signal
import time
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jaxmnist import ops, runs, train
from jaxmnist.checkpoints import Checkpoints, Snapshot, abstract
from jaxmnist.data import Dataset
from jaxmnist.data.splits import split_indices
from jaxmnist.errors import CheckpointError, DivergedError, InterruptedRunError
from jaxmnist.models import count_params, create_model
from jaxmnist.optim import learning_rate, make_optimizer, observe

EVAL_BATCH = 64
"""Images per batch in evaluation; larger ones leave the processor's cache. Results do not depend on it."""

CHUNK_SECONDS = 0.4
"""Aimed length of a device call: progress moves, and a signal is honoured within a second."""

SAVE_SECONDS = 60.0
"""A checkpoint in the middle of an epoch when the last one is older than this."""


class Observer(Protocol):
    """Who is told how a run goes."""

    def on_start(self, epochs_done: int) -> None:
        """Before the first step: epochs that an earlier session completed."""

    def on_progress(self, epoch: int, done: int, total: int, loss: float, accuracy: float) -> None:
        """During an epoch: batches done of all; mean loss and accuracy in percent so far."""

    def on_epoch(self, row: dict[str, Any]) -> None:
        """After an epoch: its line of `metrics.jsonl`."""


class Programs(NamedTuple):
    """The jitted functions of a run, each compiled once."""

    create_state: Any
    train_chunk: Any
    evaluate_chunk: Any
    epoch_order: Any


def build_programs(config: runs.RunConfig, device: jax.Device) -> Programs:
    """The functions of `jaxmnist.train` for a configuration, jitted; the state and the sums are donated."""
    options = ops.compiler_options(device)
    recipe, model = config.recipe, create_model(config.arch)
    optimizer = make_optimizer(recipe)
    setup = {"model": model, "recipe": recipe}
    return Programs(
        # Runs once: optimising it would take seven times as long to compile, on threefry's many rounds.
        jax.jit(
            partial(train.create_state, model=model, optimizer=optimizer),
            compiler_options={"xla_backend_optimization_level": 0},
        ),
        jax.jit(
            partial(train.train_chunk, optimizer=optimizer, **setup),
            donate_argnums=(0, 1),
            compiler_options=options,
        ),
        jax.jit(
            partial(train.evaluate_chunk, batch_size=EVAL_BATCH, **setup),
            donate_argnums=1,
            compiler_options=options,
        ),
        jax.jit(partial(train.epoch_order, batch_size=recipe.batch_size)),
    )


def fit(
    config: runs.RunConfig, dataset: Dataset, run: Path, device: jax.Device, observer: Observer
) -> dict[str, Any]:
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
        DivergedError: a loss or weight is no longer finite; the last good checkpoint stays.
        InterruptedRunError: SIGINT or SIGTERM arrived; the state was saved first.
        CheckpointError: the run's checkpoint cannot be used, or belongs to other data.
    """
    if dataset.fingerprint != config.data_fingerprint:
        raise CheckpointError(
            f"{run} was trained on other data than {dataset.source}: the fingerprints are "
            f"{config.data_fingerprint[:12]} and {dataset.fingerprint[:12]}; give --data-dir the original files."
        )
    with Checkpoints(run, config.arch) as checkpoints, _StopSignals() as stop:
        loop = _Loop(config, dataset, run, device, observer, checkpoints, stop)
        return loop.run_epochs()


class _Loop:
    """One training run in progress."""

    def __init__(
        self,
        config: runs.RunConfig,
        dataset: Dataset,
        run: Path,
        device: jax.Device,
        observer: Observer,
        checkpoints: Checkpoints,
        stop: "_StopSignals",
    ) -> None:
        self.config, self.run, self.observer = config, run, observer
        self.checkpoints, self.stop = checkpoints, stop
        self.programs = build_programs(config, device)
        self.put = partial(jax.device_put, device=device)
        self.keys = self.put(train.Keys.from_seed(config.seed))
        self.images = self.put(np.concatenate([dataset.train_images, dataset.test_images]))
        self.labels = self.put(np.concatenate([dataset.train_labels, dataset.test_labels]))
        indices = split_indices(len(dataset.train_labels), len(dataset.test_labels), config.select_on)
        self.train_split = self.put(indices.pop("train"))
        # Split orders of one length share one compiled program.
        longest = max(map(len, indices.values())) + EVAL_BATCH
        self.eval_splits = {
            name: (self.put(np.pad(index, (0, longest - len(index)), constant_values=train.PADDING)), len(index))
            for name, index in indices.items()
            if len(index)
        }
        self.steps = -(-len(self.train_split) // config.recipe.batch_size)
        self.pace = _Pace()
        if checkpoints.latest_step() is None:
            state = self.put(self.programs.create_state(self.keys.init))
            self.snapshot = Snapshot(state, self.put(train.no_metrics()), 0.0)
        else:
            shapes = jax.eval_shape(self.programs.create_state, self.keys.init), train.no_metrics()
            self.snapshot = checkpoints.restore_latest(*abstract(shapes, device))
        self.rows = runs.keep_epochs(run, int(self.snapshot.state.step) // self.steps)
        self.parameters = count_params({"params": self.snapshot.state.params})

    def run_epochs(self) -> dict[str, Any]:
        epochs = self.config.recipe.epochs
        self.observer.on_start(len(self.rows))
        while len(self.rows) < epochs:
            row = self.run_epoch(len(self.rows))
            self.rows.append(row)
            self.observer.on_epoch(row)
        results = summarise(self.config, self.rows, self.parameters)
        runs.write_json(self.run / runs.RESULTS, results)
        return results

    def run_epoch(self, epoch: int) -> dict[str, Any]:
        """Trains and evaluates; saves the state with its line of metrics."""
        state, metrics, seconds = self.snapshot
        began = time.perf_counter() - seconds
        order = self.programs.epoch_order(self.keys.order, jnp.int32(epoch), self.train_split)
        rate = float(learning_rate(state.opt_state))
        saved = time.perf_counter()
        done = int(state.step) - epoch * self.steps
        while done < self.steps:
            steps = self.pace.next_chunk(self.steps - done)
            state, metrics = self.programs.train_chunk(
                state, metrics, self.images, self.labels, order, np.int32(done), np.int32(steps), self.keys.step
            )
            done += steps
            sums = jax.device_get(metrics)
            self.pace.chunk_done()
            self.check_finite(sums, epoch)
            self.observer.on_progress(epoch + 1, done, self.steps, *_means(sums))
            now = time.perf_counter()
            self.snapshot = Snapshot(state, metrics, now - began)
            if self.stop.requested or now - saved > SAVE_SECONDS:
                self.checkpoints.save(self.snapshot, epoch, None)
                saved = now
            self.stop.check(self.run)
        train_loss, train_accuracy = _means(jax.device_get(metrics))
        row = {"epoch": epoch + 1, "step": int(state.step), "learning_rate": rate}
        row |= {"train_loss": train_loss, "train_accuracy": train_accuracy}
        for name in self.eval_splits:
            row |= self.evaluate(state, name)
        select_on, plateau = self.config.select_on, self.config.recipe.plateau
        if plateau is not None:
            metric = row[f"{select_on}_{plateau.monitor}"]
            state = state._replace(opt_state=observe(state.opt_state, metric))
        row["seconds"] = round(time.perf_counter() - began, 3)
        runs.append_metrics(self.run, row)
        self.snapshot = Snapshot(state, self.put(train.no_metrics()), 0.0)
        self.checkpoints.save(self.snapshot, epoch + 1, row[f"{select_on}_accuracy"])
        return row

    def evaluate(self, state: train.TrainState, split: str) -> dict[str, Any]:
        order, examples = self.eval_splits[split]
        metrics = self.put(train.no_metrics())
        batches = np.int32(-(-examples // EVAL_BATCH))
        metrics = self.programs.evaluate_chunk(
            state, metrics, self.images, self.labels, order, np.int32(0), batches
        )
        sums = jax.device_get(metrics)
        loss, accuracy = _means(sums)
        values = {"loss": loss, "accuracy": accuracy, "correct": int(sums.correct), "examples": examples}
        return {f"{split}_{name}": value for name, value in values.items()}

    def check_finite(self, sums: train.Metrics, epoch: int) -> None:
        if int(sums.bad_step) != train.NO_BAD_STEP:
            kept = self.checkpoints.latest_step()
            remains = "there is no checkpoint yet" if kept is None else f"the state of step {kept} is kept"
            raise DivergedError(
                f"training diverged in epoch {epoch + 1}, step {int(sums.bad_step)}: the loss or a weight is not "
                f"finite ({remains} in {self.run}); lower --learning-rate, now {self.config.recipe.learning_rate:g}."
            )


def summarise(config: runs.RunConfig, rows: list[dict[str, Any]], parameters: int) -> dict[str, Any]:
    """The results of a complete run, from its lines of metrics. Accuracies are percentages.

    `best` is the first epoch with the highest accuracy on the split that selects; `best_test_accuracy` is the
    highest that any epoch reached on the test images, a figure that no honest claim can rest on.
    """
    select = f"{config.select_on}_accuracy"
    best, best_test = (max(rows, key=lambda row, key=key: row[key]) for key in (select, "test_accuracy"))
    return {
        "arch": config.arch,
        "recipe": config.recipe.name,
        "dataset": config.dataset,
        "seed": config.seed,
        "parameters": parameters,
        "epochs": len(rows),
        "select_on": config.select_on,
        "best_epoch": best["epoch"],
        "test_accuracy_of_best": best["test_accuracy"],
        "final_test_accuracy": rows[-1]["test_accuracy"],
        "last_five_mean_test_accuracy": float(np.mean([row["test_accuracy"] for row in rows[-5:]])),
        "best_test_accuracy": best_test["test_accuracy"],
        "best_test_epoch": best_test["epoch"],
        "best_train_accuracy": max(row["train_accuracy"] for row in rows),
        "seconds": round(sum(row["seconds"] for row in rows), 3),
    }


def _means(sums: train.Metrics) -> tuple[float, float]:
    examples = int(sums.examples)
    return float(sums.loss_sum) / examples, 100.0 * int(sums.correct) / examples


class _Pace:
    """How many steps make a chunk of about `CHUNK_SECONDS`; starts with one step, so progress shows at once."""

    def __init__(self) -> None:
        self.steps, self.began, self.per_step = 0, 0.0, CHUNK_SECONDS

    def next_chunk(self, remaining: int) -> int:
        self.steps = min(remaining, max(1, round(CHUNK_SECONDS / self.per_step)))
        self.began = time.perf_counter()
        return self.steps

    def chunk_done(self) -> None:
        self.per_step = max(time.perf_counter() - self.began, 1e-6) / self.steps


class _StopSignals:
    """Turns the first SIGINT or SIGTERM into a request to stop; a second one ends the process at once."""

    def __init__(self) -> None:
        self.requested: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "_StopSignals":
        for signum in (signal.SIGINT, signal.SIGTERM):
            # Only the main thread may set handlers; elsewhere the caller's own stay in force.
            try:
                self._previous[signum] = signal.signal(signum, self._handle)
            except ValueError:
                break
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)

    def check(self, run: Path) -> None:
        if self.requested is not None:
            raise InterruptedRunError(self.requested, run)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        del frame
        if self.requested is not None:
            os._exit(128 + signum)
        self.requested = signum
