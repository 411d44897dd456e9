"""A trained network from the place that a user names, and the data to evaluate it on."""

import os
from pathlib import Path
from typing import Literal

from jaxmnist.data import DATASETS, Dataset, is_path, load_dataset
from jaxmnist.errors import UsageError
from jaxmnist.runs.folder import load_data_of_run, require_data_of_run
from jaxmnist.runs.restore import restore_run
from jaxmnist.runs.weights import is_weights, read_weights
from jaxmnist.runtime.devices import Device
from jaxmnist.train.network import Network

Checkpoint = Literal["best", "latest"]


def open_network(
    path: Path,
    device: Device,
    checkpoint: Checkpoint = "best",
    arch: str | None = None,
    recipe: str | None = None,
) -> Network:
    """Opens the network of a run folder or weights file; arguments and errors are those of `jaxmnist.load`."""
    if is_weights(path):
        if checkpoint != "best":
            raise UsageError(f"{path} is a weights file, not a run; leave out --checkpoint.")
        return read_weights(path, device, arch, recipe)
    if recipe is not None:
        raise UsageError(f"{path} is a run, which has its own recipe; leave out --recipe.")
    return restore_run(path, checkpoint, device, arch)


def dataset_of(
    network: Network,
    path: Path,
    dataset: str | os.PathLike[str] | None = None,
    data_dir: str | Path | None = None,
    download: bool = True,
) -> Dataset:
    """Loads the dataset to evaluate a network on: the one of that name or path, or by default that it was trained on.

    Raises:
        UsageError: there is no such dataset, or weights were trained on data of the user's own and none are named.
        DataError: the data are missing or damaged, or by default not those of the run.
    """
    config, trained_on = network.config, network.data_info
    if dataset is not None:
        return load_dataset(dataset, data_dir, fit=trained_on.fit if is_path(dataset) else None)
    if config is None:
        if trained_on.dataset not in DATASETS:
            raise UsageError(
                f"{path} was trained on {trained_on.dataset!r}; name the path of its data with --dataset."
            )
        return load_dataset(trained_on.dataset, data_dir, download=download)
    data = load_data_of_run(config, data_dir)
    require_data_of_run(config, data, path)
    return data
