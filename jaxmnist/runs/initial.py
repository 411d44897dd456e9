"""Initial weights of a run from another run or from a weights file, for training that goes on with other data."""

import dataclasses
import functools
import hashlib
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from jaxmnist.config.run import RunConfig, with_mean_and_std
from jaxmnist.data import Dataset
from jaxmnist.errors import CheckpointError, UsageError
from jaxmnist.models import IMAGE_SHAPE, arch_title, arch_word, is_custom
from jaxmnist.runs.folder import read_config
from jaxmnist.runs.restore import restore_run
from jaxmnist.runs.teacher import require_unseen
from jaxmnist.runs.weights import is_weights, read_weights, recognised_arch
from jaxmnist.train.network import Network
from jaxmnist.train.state import TrainState


def arch_of(source: Path) -> str:
    """Returns the network of a run folder or weights file without starting a device.

    Raises:
        CheckpointError: the source is missing or damaged, or its weights are of no known network.
    """
    return recognised_arch(source) if is_weights(source) else read_config(source).arch


def with_initial_weights(config: RunConfig, dataset: Dataset, source: Path) -> RunConfig:
    """Returns the configuration of a run that begins with the weights of a source.

    Images are normalised as for the source, unless the recipe was given a mean and a standard deviation of its own.

    Args:
        config: the configuration of the run.
        dataset: its data.
        source: a run folder, whose best epoch is used, or a weights file.

    Raises:
        CheckpointError: the source is missing or damaged.
        UsageError: its network is another one, or it has seen images that judge this run.
    """
    source = Path(os.path.abspath(source))  # noqa: PTH100, Path.resolve would follow links
    network = _open(source, config)
    its = network.config
    if its is not None and its.norm != config.norm:
        raise UsageError(
            f"--init-from {source} has {its.norm or 'batch'} normalisation; add --norm {its.norm or 'batch'}."
        )
    config = with_mean_and_std(config, dataset, (network.recipe.mean, network.recipe.std))
    return dataclasses.replace(config, init_from=str(source), init_fingerprint=_fingerprint(network))


def initial_state(state: TrainState, config: RunConfig) -> TrainState:
    """Replaces fresh weights by those of the source that the configuration names, if it names one.

    Classes of other names, or in another order, keep the fresh weights of every array whose shape depends on the number
    of classes: the head.

    Raises:
        CheckpointError: the source is gone, damaged, or not as it was when the run began.
        UsageError: it has seen images that this seed of a study with folds holds out.
    """
    if config.init_from is None:
        return state
    network = _open(Path(config.init_from), config)
    if _fingerprint(network) != config.init_fingerprint:
        raise CheckpointError(
            f"{config.init_from} has other weights than when the run began with them; restore it or start a new run."
        )
    fresh, given = jax.device_get(state.last_variables), jax.device_get(network.variables)
    if not same_classes(network, config):
        given = jax.tree.map(
            lambda new, old, in_head: new if in_head else old, fresh, given, _in_head(config)
        )
    average = None if state.average is None else jax.tree.map(np.copy, given)
    return state._replace(**given, average=average)


def same_classes(network: Network, config: RunConfig) -> bool:
    """True if a source has the classes of a run, so that its head is of use."""
    return network.data_info.classes == config.classes


def _open(source: Path, config: RunConfig) -> Network:
    arch = None if is_weights(source) else read_config(source).arch
    if arch is None or arch_word(arch) == arch_word(config.arch):
        network = _cached(source, config.arch, _changed(source))
        arch = network.arch
        if arch_word(arch) == arch_word(config.arch):
            its = network.config
            if its is not None and its.data_fingerprint == config.data_fingerprint:
                require_unseen(f"--init-from {source}", its, config)
            return network
    raise UsageError(
        f"--init-from {source} has the weights of {arch_title(arch)}, and the run trains {arch_title(config.arch)}; "
        f"leave out --arch or name weights of {arch_title(config.arch)}."
    )


@functools.lru_cache(maxsize=4)
def _cached(source: Path, arch: str, changed: object) -> Network:
    """Opens a source on the host, once for all seeds of a study."""
    device, own = jax.local_devices()[0], arch if is_custom(arch) else None
    network = (
        read_weights(source, device, own) if is_weights(source) else restore_run(source, "best", device, own)
    )
    return network._replace(variables=jax.device_get(network.variables))


def _changed(source: Path) -> object:
    folder = source if source.is_file() else source / "checkpoints"
    return folder.stat().st_mtime_ns if folder.exists() else None


def _fingerprint(network: Network) -> str:
    """SHA-256 (hex) of the weights and the names of the classes."""
    digest = hashlib.sha256(repr(network.data_info.classes).encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(network.variables):
        digest.update(f"{jax.tree_util.keystr(path)}{leaf.shape}".encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


def _in_head(config: RunConfig) -> PyTree:
    """Tree with True for each array of a network whose shape depends on the number of classes."""

    def shapes(classes: tuple[str, ...]) -> PyTree:
        model = dataclasses.replace(config, classes=classes).create_model()
        images = jax.ShapeDtypeStruct((1, *IMAGE_SHAPE), np.float32)
        variables: Any = jax.eval_shape(model.init, jax.eval_shape(lambda: jax.random.key(0)), images)
        return {"params": variables["params"], "batch_stats": variables.get("batch_stats", {})}

    pair = shapes(config.classes), shapes((*config.classes, "one more"))
    return jax.tree.map(lambda one, other: one.shape != other.shape, *pair)
