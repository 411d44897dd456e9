"""A run opened for inference."""

import dataclasses
import warnings
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import numpy as np

from jaxmnist.config.run import RunConfig
from jaxmnist.errors import CheckpointError, JaxmnistWarning, UsageError
from jaxmnist.models import ARCHS, absolute_arch, arch_word, is_custom
from jaxmnist.models.custom import fingerprint
from jaxmnist.optim import make_optimizer
from jaxmnist.runs.checkpoints import FOLDER, Checkpoints, abstract
from jaxmnist.runs.folder import read_config
from jaxmnist.runtime.devices import Device
from jaxmnist.train.loss import no_metrics
from jaxmnist.train.network import Network
from jaxmnist.train.state import TrainState, create_state


class RestoredRun(NamedTuple):
    """A trained network with what decides how it is used."""

    config: RunConfig
    state: TrainState
    device: Device
    epoch: int | None
    """Epoch at whose end the state was saved; None in the middle of one."""

    @property
    def network(self) -> Network:
        """What inference takes of it."""
        config, state = self.config, self.state
        return Network(
            arch=config.arch,
            model=config.create_model(),
            recipe=config.recipe,
            variables=state.variables,
            device=self.device,
            config=config,
            epoch=self.epoch,
            step=int(state.step),
        )


def restore_run(
    run: Path, which: Literal["best", "latest"], device: Device, arch: str | None = None
) -> RestoredRun:
    """Opens a run for inference; the folder is not written to, and the data are not needed.

    Args:
        run: the folder that training made.
        which: the checkpoint of the best epoch, or the newest.
        device: where the weights go.
        arch: the new place of the class of the run's network, if it has moved.

    Raises:
        CheckpointError: the folder is not a run; the class of its network is gone; or its checkpoint is missing,
            damaged, of another arch or has weights that are not finite.
        UsageError: the run's network is one of this package, and `arch` is given.
    """
    config = with_class(read_config(run), arch, run)
    if not is_custom(config.arch) and config.arch not in ARCHS:
        raise CheckpointError(
            f"{run} is a run of arch {config.arch!r}, which this version does not have, only "
            f"{', '.join(ARCHS)}; use the version that trained it."
        )
    if not (run / FOLDER).is_dir():
        raise CheckpointError(f"{run} has no folder {FOLDER}; train again.")
    try:
        model = config.create_model()
    except UsageError as error:
        raise CheckpointError(
            f"{run} needs its network, which --arch names if it has moved: {error}"
        ) from error
    if is_changed(config):
        message = f"{config.arch} has changed since {run} was trained; its class is used as it is now."
        warnings.warn(message, JaxmnistWarning, stacklevel=2)
    optimizer = make_optimizer(config.recipe)
    blank = jax.eval_shape(lambda: create_state(jax.random.key(0), model, optimizer, config.recipe))
    checkpoints = Checkpoints(run, arch_word(config.arch))
    restore = checkpoints.restore_best if which == "best" else checkpoints.restore_latest
    snapshot = restore(*abstract((blank, no_metrics()), device))
    state = snapshot.state
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state.last_variables, state.average))):
        raise CheckpointError(
            f"the checkpoint {run / FOLDER / str(state.step)} has weights that are not finite; train again."
        )
    epochs = {row["step"]: row["epoch"] for row in snapshot.rows}
    return RestoredRun(config, state, device, epochs.get(int(state.step)))


def with_class(config: RunConfig, arch: str | None, run: Path) -> RunConfig:
    """Returns the configuration of a run with a new place for the class of its network.

    Args:
        config: the configuration.
        arch: the place; None leaves the one there is.
        run: the run folder, for the message.

    Raises:
        UsageError: the run's network is one of this package.
    """
    if arch is None:
        return config
    if not is_custom(config.arch):
        raise UsageError(f"{run} is a run, which has its own arch; leave out --arch.")
    return dataclasses.replace(config, arch=absolute_arch(arch))


def is_changed(config: RunConfig) -> bool:
    """True if the file of a run's own network is not what it was when the run began."""
    return bool(config.arch_fingerprint) and fingerprint(config.arch) != config.arch_fingerprint
