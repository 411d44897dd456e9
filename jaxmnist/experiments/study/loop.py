"""The host loop of a study in one process: seed after seed, each a run that goes on where it stopped."""

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxmnist.config.run import RunConfig
from jaxmnist.data import Dataset
from jaxmnist.errors import InterruptedRunError, StorageError
from jaxmnist.experiments.study.folder import Study, is_finished, write_predictions
from jaxmnist.runs.checkpoints import FOLDER
from jaxmnist.runs.folder import open_run
from jaxmnist.runs.loop import fit
from jaxmnist.runs.progress import Callback, Progress
from jaxmnist.runs.restore import restore_run
from jaxmnist.runtime.devices import Device
from jaxmnist.runtime.files import remove_tree

GO_ON = "and the same command goes on from there"


def train_seeds(
    study: Study,
    seeds: Sequence[int],
    dataset: Dataset,
    device: Device,
    callbacks: Sequence[Callback],
    environment: Mapping[str, Any],
    keep_checkpoints: bool = False,
) -> None:
    """Trains the seeds that are not finished, one after the other; they share what is compiled.

    Args:
        study: the study.
        seeds: those wanted.
        dataset: what the study is about.
        device: where to compute.
        callbacks: called with the progress of every seed.
        environment: as for `jaxmnist.runs.folder.open_run`.
        keep_checkpoints: whether finished seeds keep theirs.

    Raises:
        InterruptedRunError: SIGINT or SIGTERM arrived; the state of the seed in progress was saved first.
        JaxmnistError: as for `jaxmnist.runs.loop.fit`.
    """
    for seed in seeds:
        if not is_finished(study, seed):
            config, run = seed_config(study, seed), study.run(seed)
            open_run(run, config, environment)
            try:
                fit(config, dataset, run, device, callbacks)
            except InterruptedRunError as error:
                raise InterruptedRunError(error.signum, run, GO_ON) from error
            predict(study, seed, dataset, device)
        close_seed(study, seed, keep_checkpoints)
        tell_finished(study, seed, callbacks)


def seed_config(study: Study, seed: int) -> RunConfig:
    """The configuration of a seed's run."""
    return dataclasses.replace(study.config, seed=seed)


def predict(study: Study, seed: int, dataset: Dataset, device: Device) -> None:
    """Writes what the last epoch's network of a seed makes of the study's split."""
    network = restore_run(study.run(seed), "latest", device).network
    if study.split == "test":
        images, labels = dataset.test_images, dataset.test_labels
    else:
        counts = len(dataset.train_labels), len(dataset.test_labels)
        indices = seed_config(study, seed).splits(*counts)["val"]
        images, labels = dataset.train_images[indices], dataset.train_labels[indices]
    predictions, _ = network.predict(images)
    try:
        write_predictions(study, seed, predictions, labels)
    except OSError as error:
        message = f"the predictions of {study.run(seed)} could not be written ({error.strerror}); make room, {GO_ON}."
        raise StorageError(message) from error


def close_seed(study: Study, seed: int, keep_checkpoints: bool) -> None:
    """Deletes the checkpoints of a finished seed, which are a hundred times larger than its results."""
    checkpoints: Path = study.run(seed) / FOLDER
    if keep_checkpoints:
        return
    if checkpoints.is_dir():
        remove_tree(checkpoints)
    shutil.rmtree(checkpoints.with_name(f"{FOLDER}.removed"), ignore_errors=True)


def tell_finished(study: Study, seed: int, callbacks: Sequence[Callback]) -> None:
    """Tells the callbacks that a seed is finished."""
    for callback in callbacks:
        callback(Progress("finished", seed, study.config.recipe.epochs))
