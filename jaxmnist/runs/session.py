"""A session of a run: what it works with, and how it saves, warns and ends."""

import contextlib
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Array, Int32, PyTree, UInt8

from jaxmnist import train
from jaxmnist.config.run import RunConfig
from jaxmnist.data import Dataset
from jaxmnist.errors import InterruptedRunError, JaxmnistWarning, StorageError
from jaxmnist.runs.checkpoints import Checkpoints, Snapshot
from jaxmnist.runs.progress import Callback, Progress
from jaxmnist.runtime.mesh import Where, everywhere, put, put_divided
from jaxmnist.runtime.signals import StopSignals
from jaxmnist.runtime.team import ALONE, Team
from jaxmnist.train.jit import EVAL_BATCH, Programs


class Data(NamedTuple):
    """A dataset on the device: all images once, and splits as indices into them."""

    images: UInt8[Array, "n 28 28"]
    labels: Int32[Array, " n"]
    train_split: Int32[Array, " train"]
    eval_splits: dict[str, tuple[Int32[Array, " padded"], int]]
    """Orders of equal length, so that they share one compiled program, and the number of images that count."""

    def visit(self, order: Int32[Array, " padded"]) -> train.EpochData:
        """Pairs the images with the order in which to visit them."""
        return train.EpochData(self.images, self.labels, order)


class Session(NamedTuple):
    """What stays the same from the first epoch to the last."""

    config: RunConfig
    run: Path
    where: Where
    programs: Programs
    keys: train.Keys
    data: Data
    checkpoints: Checkpoints
    stop: StopSignals
    callbacks: Sequence[Callback]
    team: Team = ALONE

    @property
    def batches(self) -> int:
        """Batches of an epoch."""
        return -(-len(self.data.train_split) // self.config.recipe.batch_size)

    @property
    def kept(self) -> str:
        """What a run that ends now leaves, as a clause."""
        step = self.checkpoints.latest_step()
        return "there is no checkpoint yet" if step is None else f"the state of step {step} is kept"

    def tell(
        self,
        kind: Literal["start", "step", "epoch"],
        epoch: int,
        done: int = 0,
        sums: train.Metrics | None = None,
        row: Mapping[str, Any] | None = None,
    ) -> None:
        """Calls every callback; arguments as for `Progress`, with `sums` over the epoch so far."""
        loss, accuracy = (math.nan, math.nan) if sums is None else means(sums)
        progress = Progress(kind, self.config.seed, epoch, done, self.batches, loss, accuracy, row)
        for callback in self.callbacks:
            callback(progress)

    def save(self, snapshot: Snapshot, score: float | None = None, meets_rule: bool = False) -> None:
        """Saves a state; arguments as for `Checkpoints.save`.

        Raises:
            StorageError: it cannot be written.
        """
        if not self.team.is_leader:
            return
        with self.stop.saving(), self.team.writing():
            self.checkpoints.save(snapshot, len(snapshot.rows), score, meets_rule)

    def save_last(self, snapshot: Snapshot, score: float | None = None, meets_rule: bool = False) -> None:
        """Saves the state that a session ends with, without which there is no success to report."""
        try:
            self.save(snapshot, score, meets_rule)
        except StorageError as error:
            message = f"{error}; {self.kept}: make room and go on with --resume {self.run}"
            raise StorageError(message) from error

    @contextlib.contextmanager
    def or_warning(self) -> Iterator[None]:
        """Around what is saved while training: where it cannot be written, that is said and training goes on."""
        try:
            yield
        except (StorageError, OSError) as error:
            reason = str(error)
            if isinstance(error, OSError):
                reason = f"{error.filename or self.run} could not be written ({error.strerror})"
            message = f"{reason}; the run goes on, and {self.kept}."
            warnings.warn(message, JaxmnistWarning, stacklevel=4)

    def end_if_asked(self) -> None:
        """Ends a session that a signal asked to end, in whichever of its processes.

        Raises:
            InterruptedRunError: one did.
        """
        signum = self.team.agree_on_signal(self.stop.requested)
        if signum is not None:
            raise InterruptedRunError(signum, self.run)

    def placed(self, tree: PyTree) -> PyTree:
        """A tree of arrays on every device of the session."""
        return put(tree, everywhere(self.where))


def place(dataset: Dataset, config: RunConfig, where: Where) -> Data:
    """Puts the images and the splits of a run on a device, or a share of the images on each device of a mesh."""
    put_everywhere = partial(put, sharding=everywhere(where))
    splits = config.splits(len(dataset.train_labels), len(dataset.test_labels))
    train_split = splits.pop("train")
    longest = max(map(len, splits.values()))
    longest += -longest % EVAL_BATCH
    return Data(
        images=put_divided(np.concatenate([dataset.train_images, dataset.test_images]), where),
        labels=put_everywhere(np.concatenate([dataset.train_labels, dataset.test_labels])),
        train_split=put_everywhere(train_split),
        eval_splits={
            name: (
                put_everywhere(np.pad(index, (0, longest - len(index)), constant_values=train.PADDING)),
                len(index),
            )
            for name, index in splits.items()
            if len(index)
        },
    )


def means(sums: train.Metrics) -> tuple[float, float]:
    """Returns the mean loss and the accuracy in percent; NaN if every step was skipped."""
    examples = int(sums.examples)
    if not examples:
        return math.nan, math.nan
    return float(sums.loss_sum) / examples, 100.0 * int(sums.correct) / examples
