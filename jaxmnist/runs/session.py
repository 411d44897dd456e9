"""A session of a run: its data, programs and folder, with saving, warnings and a clean end."""

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Array, Int32, PyTree, UInt8

from jaxmnist import train
from jaxmnist.config.run import RunConfig
from jaxmnist.data import Dataset
from jaxmnist.errors import InterruptedRunError, JaxmnistWarning, StorageError, mending
from jaxmnist.runs.checkpoints import Checkpoints, Snapshot
from jaxmnist.runs.progress import Callback, Progress
from jaxmnist.runtime.mesh import Where, everywhere, put
from jaxmnist.runtime.signals import StopSignals
from jaxmnist.runtime.team import ALONE, Team
from jaxmnist.train.jit import EVAL_BATCH, Programs


class GoneError(StorageError):
    """A run folder that was moved or deleted while its run trains."""


class Data(NamedTuple):
    """A dataset on the device: all images, and the splits as indices into them."""

    images: UInt8[Array, "n 28 28"]
    labels: Int32[Array, " n"]
    train_split: Int32[Array, " train"]
    eval_splits: dict[str, tuple[Int32[Array, " padded"], int]]
    """Indices, padded to equal length to share one compiled program, and the number of images that count."""

    def visit(self, order: Int32[Array, " padded"]) -> train.EpochData:
        """Pairs the images with the order in which to visit them."""
        return train.EpochData(self.images, self.labels, order)


class Session(NamedTuple):
    """Everything that stays the same from the first epoch to the last."""

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
    require_lock: Callable[[], None] | None = None
    """Check of the leader before every save, see `jaxmnist.runtime.files.locked`."""
    whereabouts: Callable[[], Path | None] | None = None
    """Function that returns the path of the run folder now, None once it is deleted; None if nobody keeps track."""

    @property
    def batches(self) -> int:
        """Number of batches in an epoch."""
        return -(-len(self.data.train_split) // self.config.recipe.batch_size)

    @property
    def kept(self) -> str:
        """State of the run folder if the session ended now, as a clause."""
        step = self.checkpoints.latest_step()
        return "there is no checkpoint yet" if step is None else f"the checkpoint of step {step} is kept"

    def tell(
        self,
        kind: Literal["start", "step", "epoch"],
        epoch: int,
        done: int = 0,
        sums: train.Metrics | None = None,
        row: Mapping[str, Any] | None = None,
    ) -> None:
        """Reports a moment to every callback; arguments as for `Progress`, with `sums` over the epoch so far."""
        loss, accuracy = (math.nan, math.nan) if sums is None else means(sums)
        progress = Progress(kind, self.config.seed, epoch, done, self.batches, loss, accuracy, row)
        for callback in self.callbacks:
            callback(progress)

    def check_lock(self) -> None:
        """Checks that no other process can be in the run folder.

        Raises:
            UsageError: one can.
        """
        if self.require_lock is not None:
            self.require_lock()

    def save(self, snapshot: Snapshot, score: float | None = None, meets_rule: bool = False) -> None:
        """Saves a checkpoint; arguments as for `Checkpoints.save`.

        Raises:
            StorageError: it cannot be written.
            GoneError: the run folder was moved or deleted.
            UsageError: another process can be in the run folder.
        """
        self.check_lock()
        if self.team.is_leader:
            self._require_present()
            with self.stop.saving(), self.team.writing():
                self.checkpoints.save(snapshot, len(snapshot.rows), score, meets_rule)

    def save_last(self, snapshot: Snapshot, score: float | None = None, meets_rule: bool = False) -> None:
        """Saves the checkpoint that a session ends with; arguments as for `save`.

        Raises:
            StorageError: it cannot be written; the message says how to resume.
        """
        try:
            self.save(snapshot, score, meets_rule)
        except GoneError:
            raise
        except StorageError as error:
            first = mending(error.__cause__)
            message = f"{error}, and {self.kept}; {first} and resume with --resume {self.run}"
            raise StorageError(message) from error

    @contextlib.contextmanager
    def or_warning(self) -> Iterator[None]:
        """Context manager for writes during training: turns their failure into a warning.

        Raises:
            GoneError: the run folder was moved or deleted.
        """
        self._require_present()
        try:
            yield
        except GoneError:
            raise
        except (StorageError, OSError) as error:
            self._require_present()
            reason = str(error)
            if isinstance(error, OSError):
                reason = f"{error.filename or self.run} cannot be written ({error.strerror})"
            message = f"{reason}; training continues, and {self.kept}."
            warnings.warn(message, JaxmnistWarning, stacklevel=4)

    def _require_present(self) -> None:
        """Checks that the run folder is where it was: whatever is saved now would be lost."""
        place = self.run if self.whereabouts is None else self.whereabouts()
        if place is None:
            raise GoneError(f"the run folder {self.run} is gone, with its checkpoints; start a new run.")
        if place != self.run:
            raise GoneError(
                f"the run folder {self.run} is gone: it is now {place}, with the last state that was saved; "
                f"resume with --resume {place}."
            )

    def end_if_asked(self) -> None:
        """Ends the session if one of its processes received a signal.

        Raises:
            InterruptedRunError: a signal arrived.
        """
        signum = self.team.agree_on_signal(self.stop.requested)
        if signum is not None:
            raise InterruptedRunError(signum, self.run)

    def placed(self, tree: PyTree) -> PyTree:
        """Puts a tree of arrays on every device of the session."""
        return put(tree, everywhere(self.where))


def place(dataset: Dataset, config: RunConfig, where: Where) -> Data:
    """Puts the images and splits of a run on every device."""
    put_everywhere = partial(put, sharding=everywhere(where))
    splits = config.splits(len(dataset.train_labels), len(dataset.test_labels))
    train_split = splits.pop("train")
    longest = max(map(len, splits.values()))
    longest += -longest % EVAL_BATCH
    return Data(
        images=put_everywhere(np.concatenate([dataset.train_images, dataset.test_images])),
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
