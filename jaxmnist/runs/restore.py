"""Restoring a run for inference."""

import dataclasses
import warnings
from pathlib import Path
from typing import Literal

import jax
import numpy as np

from jaxmnist.config.run import RunConfig
from jaxmnist.errors import CheckpointError, JaxmnistWarning, UsageError
from jaxmnist.models import ARCHS, absolute_arch, arch_word, is_custom
from jaxmnist.models.custom import fingerprint
from jaxmnist.optim import make_optimizer
from jaxmnist.runs.about import FOLDER
from jaxmnist.runs.calibration import read_temperature
from jaxmnist.runs.checkpoints import Checkpoints, abstract
from jaxmnist.runs.folder import read_config
from jaxmnist.runtime.devices import Device
from jaxmnist.runtime.jax_settings import own_settings
from jaxmnist.train.loss import no_metrics
from jaxmnist.train.network import Network
from jaxmnist.train.state import create_state


@own_settings()
def restore_run(
    run: Path, which: Literal["best", "latest"], device: Device, arch: str | None = None
) -> Network:
    """Restores a run for inference, without its data and without writing to its folder.

    Args:
        run: the run folder.
        which: the checkpoint of the best epoch, or the latest.
        device: device for the weights.
        arch: the new place of the network's class, if it has moved.

    Raises:
        CheckpointError: the folder is not a run; the class of its network is gone; or the checkpoint is missing,
            damaged, of another arch, or has weights that are not finite.
        UsageError: `arch` is given and the network is one of this package.
    """
    config = with_class(read_config(run), arch, run)
    if not is_custom(config.arch) and config.arch not in ARCHS:
        raise CheckpointError(
            f"{run} is a run of arch {config.arch!r}, which this version does not have (it has {', '.join(ARCHS)}); "
            "use the version that trained it."
        )
    if not (run / FOLDER).is_dir():
        raise CheckpointError(f"{run} has no folder {FOLDER}; train again.")
    try:
        model = config.create_model()
    except UsageError as error:
        raise CheckpointError(
            f"{run} needs its network; if it has moved, name it with --arch: {error}"
        ) from error
    if is_changed(config):
        message = f"{config.arch} has changed since {run} was trained; the new class is used."
        warnings.warn(message, JaxmnistWarning, stacklevel=2)
    optimizer = make_optimizer(config.recipe)
    blank = jax.eval_shape(lambda: create_state(jax.random.key(0), model, optimizer, config.recipe))
    checkpoints = Checkpoints(run, arch_word(config.arch), config)
    restore = checkpoints.restore_best if which == "best" else checkpoints.restore_latest
    snapshot = restore(*abstract((blank, jax.eval_shape(no_metrics)), device))
    state = snapshot.state
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state.last_variables, state.average))):
        raise CheckpointError(
            f"the checkpoint {run / FOLDER / str(state.step)} has weights that are not finite; train again."
        )
    epochs = {row["step"]: row["epoch"] for row in snapshot.rows}
    step = int(state.step)
    return Network(
        config.arch,
        model,
        config.recipe,
        state.variables,
        device,
        config.data_info,
        config,
        epochs.get(step),
        step,
        temperature=read_temperature(run, step),
    )


def with_class(config: RunConfig, arch: str | None, run: Path) -> RunConfig:
    """Returns the configuration of a run with `arch`, if given, as the new place of its network's class.

    Raises:
        UsageError: the network is one of this package.
    """
    if arch is None:
        return config
    if not is_custom(config.arch):
        raise UsageError(f"{run} is a run, which has its own arch; leave out --arch.")
    return dataclasses.replace(config, arch=absolute_arch(arch))


def is_changed(config: RunConfig) -> bool:
    """True if the file that defines the network, a class of the user's own, has changed since the run began."""
    return bool(config.arch_fingerprint) and fingerprint(config.arch) != config.arch_fingerprint
