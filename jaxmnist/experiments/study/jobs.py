"""Training of seeds one after the other: each is a run that resumes where it stopped."""

import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxmnist.data import Dataset
from jaxmnist.errors import DivergedError, InterruptedRunError, UsageError
from jaxmnist.experiments.study.folder import Study, is_finished, write_divergence
from jaxmnist.experiments.study.predictions import write_predictions
from jaxmnist.runs.about import FOLDER
from jaxmnist.runs.devices import devices_of_run, training_devices
from jaxmnist.runs.environment import device_facts
from jaxmnist.runs.folder import open_run
from jaxmnist.runs.loop import fit
from jaxmnist.runs.progress import Callback, Progress
from jaxmnist.runs.restore import restore_run
from jaxmnist.runtime.devices import Device
from jaxmnist.runtime.files import locked, remove_tree

RESUME = "give the same command again to resume"

SECONDS_TO_STOP = 30.0
"""Time for a process to save its state after a signal, or after the end of its parent."""


class Job(NamedTuple):
    """A seed of a study to train, and the callbacks for its progress."""

    study: Study
    seed: int
    callbacks: Sequence[Callback] = ()


def train_jobs(
    jobs: Iterable[Job],
    dataset: Dataset,
    device: Device,
    environment: Mapping[str, Any],
    note_divergence: bool = False,
) -> None:
    """Trains the seeds that are not finished, one after the other; seeds of a study share compiled programs.

    Args:
        jobs: the seeds; the next one is requested when the one before it is finished.
        dataset: the data of all studies.
        device: the device to train on; on a CPU each run takes as many as `training_devices` says.
        environment: as for `jaxmnist.runs.folder.open_run`.
        note_divergence: if True, a seed that diverges is recorded as diverged, and the others go on.

    Raises:
        InterruptedRunError: SIGINT, SIGTERM or SIGHUP arrived; the state of the seed in progress was saved first.
        JaxmnistError: as for `jaxmnist.runs.loop.fit`.
    """
    for job in jobs:
        study, seed, callbacks = job
        run, config = study.run(seed), study.seed_config(seed)
        _wait_for_orphans(run)
        try:
            if not is_finished(study, seed):
                open_run(run, config, {**environment, **device_facts(training_devices(config, device))})
                fit(config, dataset, run, devices_of_run(run, config, device), callbacks)
            finish_job(job, dataset, device)
        except InterruptedRunError as error:
            raise InterruptedRunError(error.signum, run, RESUME) from error
        except DivergedError as error:
            if not note_divergence:
                raise
            write_divergence(study, seed, str(error))
            _close(job)


def finish_job(job: Job, dataset: Dataset, device: Device) -> None:
    """Writes the predictions of a trained seed, deletes its checkpoints, and reports it as finished.

    The predictions are those of the last epoch's network on the study's split. Checkpoints are a hundred times
    larger than results.
    """
    study, seed, _ = job
    if not is_finished(study, seed):
        network = restore_run(study.run(seed), "latest", device)
        if study.split == "test":
            images, labels = dataset.test_images, dataset.test_labels
        else:
            counts = len(dataset.train_labels), len(dataset.test_labels)
            indices = study.seed_config(seed).splits(*counts)["val"]
            images, labels = dataset.train_images[indices], dataset.train_labels[indices]
        predictions, _ = network.predict(images)
        write_predictions(study, seed, predictions, labels)
    _close(job)


def _close(job: Job) -> None:
    study, seed, callbacks = job
    delete_checkpoints(study, seed)
    for callback in callbacks:
        callback(Progress("finished", seed, study.config.recipe.epochs))


def delete_checkpoints(study: Study, seed: int) -> None:
    """Deletes the checkpoints of a seed, also what an interrupted deletion left of them."""
    checkpoints = study.run(seed) / FOLDER
    if checkpoints.is_dir():
        remove_tree(checkpoints)
    shutil.rmtree(checkpoints.with_name(f"{FOLDER}.removed"), ignore_errors=True)


def _wait_for_orphans(run: Path) -> None:
    """Waits until the child of a killed parent, which saves its state before it ends, releases a run."""
    deadline = time.monotonic() + SECONDS_TO_STOP
    while run.is_dir() and time.monotonic() < deadline:
        try:
            with locked(run):
                return
        except UsageError:
            time.sleep(0.2)
