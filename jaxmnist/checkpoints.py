"""Checkpoints through Orbax: the latest and the best state of a run, always both."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from jaxmnist import runs
from jaxmnist.config import RunConfig
from jaxmnist.errors import CheckpointError
from jaxmnist.inference import Network
from jaxmnist.models import ARCHS
from jaxmnist.optim import make_optimizer
from jaxmnist.parallel import Device
from jaxmnist.train import Metrics, TrainState, create_state, no_metrics

FOLDER = "checkpoints"


class Snapshot(NamedTuple):
    """What it takes to go on as if nothing had happened."""

    state: TrainState
    metrics: Metrics
    """Sums of the epoch in progress; zero at the end of an epoch."""
    seconds: float
    """Time already spent in the epoch in progress."""


class Checkpoints:
    """The checkpoints of one run; use it as a context manager."""

    def __init__(self, run: Path, arch: str) -> None:
        """Opens the run's `checkpoints` folder, which is made if it is missing."""
        self.run = run
        self.arch = arch
        # Orbax keeps the best and drops the latest if told only to keep the best: a resume went back in time.
        keep = preservation_policy.AnyPreservationPolicy(
            [preservation_policy.LatestN(1), preservation_policy.BestN(get_metric_fn=_rank, n=1)]
        )
        # A state is a hundred kilobytes; saving it in the background would only blur when it is safe.
        options = ocp.CheckpointManagerOptions(
            best_fn=_rank, preservation_policy=keep, enable_async_checkpointing=False
        )
        with _quiet():
            self._manager = ocp.CheckpointManager((run / FOLDER).resolve(), options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()

    def latest_step(self) -> int | None:
        """Step of the newest checkpoint, None when there is none."""
        return self._manager.latest_step()

    def save(self, snapshot: Snapshot, epoch: int, accuracy: float | None, meets_rule: bool = False) -> None:
        """Saves a state under its step; it becomes the latest, and the best if no earlier one is as good.

        Args:
            snapshot: what to save.
            epoch: epochs completed.
            accuracy: what the best is chosen by, in percent; None in the middle of an epoch.
            meets_rule: whether it is to be preferred to any that do not meet the recipe's checkpoint rule.
        """
        rank = {"rule": meets_rule, "accuracy": -1.0 if accuracy is None else accuracy, "epoch": epoch}
        about = {"arch": self.arch, "epoch": epoch, "seconds": snapshot.seconds}
        arrays = {"state": snapshot.state, "metrics": snapshot.metrics}
        with _quiet():
            self._manager.save(
                int(snapshot.state.step),
                args=ocp.args.Composite(arrays=ocp.args.StandardSave(arrays), about=ocp.args.JsonSave(about)),
                metrics=rank,
            )

    def restore_latest(self, template: TrainState, metrics: Metrics) -> Snapshot:
        """The newest snapshot. See `restore_best`."""
        return self._restore(self._manager.latest_step(), template, metrics)

    def restore_best(self, template: TrainState, metrics: Metrics) -> Snapshot:
        """The snapshot of the best epoch so far.

        Args:
            template: shapes, dtypes and devices of the state to restore.
            metrics: the same of the sums.

        Raises:
            CheckpointError: there is none, it cannot be read, or it is one of another arch.
        """
        return self._restore(self._manager.best_step(), template, metrics)

    def _restore(self, step: int | None, template: TrainState, metrics: Metrics) -> Snapshot:
        if step is None:
            raise CheckpointError(f"{self.run / FOLDER} holds no checkpoint; train again.")
        try:
            with _quiet():
                restored = self._manager.restore(step, args=ocp.args.Composite(about=ocp.args.JsonRestore()))
                about: dict[str, Any] = dict(restored["about"])
        except Exception as error:  # Orbax and TensorStore raise many kinds
            raise self._damaged(step, error) from error
        if about["arch"] != self.arch:
            raise CheckpointError(
                f"the checkpoint {self.run / FOLDER / str(step)} is one of arch {about['arch']!r}, "
                f"not of {self.arch!r}; give the run that trained {self.arch!r}."
            )
        try:
            with _quiet():
                restore = ocp.args.StandardRestore({"state": template, "metrics": metrics})
                arrays = self._manager.restore(step, args=ocp.args.Composite(arrays=restore))["arrays"]
        except Exception as error:
            raise self._damaged(step, error) from error
        return Snapshot(arrays["state"], arrays["metrics"], about["seconds"])

    def _damaged(self, step: int, error: Exception) -> CheckpointError:
        reason = str(error).strip().split("\n")[0][:200]
        return CheckpointError(
            f"the checkpoint {self.run / FOLDER / str(step)} cannot be read ({reason}); train again."
        )


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
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        return Network(
            arch=config.arch,
            model=config.create_model(),
            recipe=config.recipe,
            variables=variables,
            device=self.device,
            config=config,
            epoch=self.epoch,
            step=int(state.step),
        )


def restore_run(run: Path, which: Literal["best", "latest"], device: Device) -> RestoredRun:
    """Opens a run for inference; the folder is not written to, and the data are not needed.

    Args:
        run: the folder that training made.
        which: the checkpoint of the best epoch, or the newest.
        device: where the weights go.

    Raises:
        CheckpointError: the folder is not a run, or its checkpoint is missing, damaged, of another arch or
            has weights that are not finite.
    """
    config = runs.read_config(run)
    if config.arch not in ARCHS:
        raise CheckpointError(
            f"{run} is a run of arch {config.arch!r}, which this version does not have, only "
            f"{', '.join(ARCHS)}; use the version that trained it."
        )
    if not (run / FOLDER).is_dir():
        raise CheckpointError(f"{run} has no folder {FOLDER}; train again.")
    model, optimizer = config.create_model(), make_optimizer(config.recipe)
    shapes = jax.eval_shape(lambda: create_state(jax.random.key(0), model, optimizer))
    with Checkpoints(run, config.arch) as checkpoints:
        restore = checkpoints.restore_best if which == "best" else checkpoints.restore_latest
        state = restore(*abstract((shapes, no_metrics()), device)).state
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state.params, state.batch_stats))):
        raise CheckpointError(
            f"the checkpoint {run / FOLDER / str(state.step)} has weights that are not finite; train again."
        )
    epochs = {row["step"]: row["epoch"] for row in runs.read_metrics(run)}
    return RestoredRun(config, state, device, epochs.get(int(state.step)))


def abstract(tree: Any, device: Device) -> Any:
    """Shapes and dtypes of a tree of arrays, placed on a device: a template for restoring."""
    sharding = jax.sharding.SingleDeviceSharding(device)
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree)


def _rank(metrics: Any) -> Any:
    # Of equally accurate epochs the first counts as best, as in the published tables.
    return metrics["rule"], metrics["accuracy"], -metrics["epoch"]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # Orbax reports every phase of a save through absl's logger, in the middle of the progress bar.
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
