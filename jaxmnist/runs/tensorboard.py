"""A run's epochs as TensorBoard events, in `RUN/tensorboard/`. Needs the extra `tensorboard`.

TensorBoardX describes events and sums them up; its writers are not used. Those write in a thread of their own,
where a full disk ends in a traceback and a torn record hides all that come after it.
"""

import importlib
import struct
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxmnist.runs.folder import read_metrics
from jaxmnist.runtime.files import append
from jaxmnist.errors import JaxmnistWarning, UsageError

FOLDER = "tensorboard"

_VERSION = "brain.Event:2"
_SPLITS, _METRICS = ("train", "val", "test", "plain_val", "plain_test"), ("loss", "accuracy")


class EventWriter:
    """An observer of `jaxmnist.runs.loop.fit`: an event per epoch, with all its scalars.

    What cannot be written is a warning, and is tried again after the next epoch. Epochs that are there already
    are passed over, so that those of a resumed run are there once.
    """

    def __init__(self, run: Path) -> None:
        """Writes nothing yet.

        Args:
            run: the run's folder.

        Raises:
            UsageError: tensorboardX is not installed.
        """
        require_tensorboard()
        self.run = run
        self._file = run / FOLDER / f"events.out.tfevents.{time.time_ns()}.jaxmnist"
        self._rows: dict[int, dict[str, Any]] = {}
        self._written: set[int] = set()

    def on_start(self, epochs_done: int) -> None:
        self._rows = {row["epoch"]: row for row in read_metrics(self.run)[:epochs_done]}
        self._written = {event.step for event in read_events(self.run) if event.summary.value}
        self._write_missing()

    def on_progress(self, epoch: int, done: int, total: int, loss: float, accuracy: float) -> None:
        """An epoch is what counts here."""

    def on_epoch(self, row: dict[str, Any]) -> None:
        self._rows[row["epoch"]] = row
        self._write_missing()

    def add_picture(self, name: str, png: bytes, size: tuple[int, int], step: int) -> None:
        """An image of that width and height, unless the run has one of that name and step."""
        present = (event for event in read_events(self.run) if event.step == step)
        if any(value.tag == name for event in present for value in event.summary.value):
            return
        event = _event(step)
        image = {"width": size[0], "height": size[1], "colorspace": 3, "encoded_image_string": png}
        event.summary.value.add(tag=name, image=image)
        self._write([event])

    def _write_missing(self) -> None:
        missing = [epoch for epoch in self._rows if epoch not in self._written]
        if missing and self._write([_scalars(self._rows[epoch]) for epoch in missing]):
            self._written.update(missing)

    def _write(self, events: list[Any]) -> bool:
        try:
            self._file.parent.mkdir(exist_ok=True)
            if not self._file.exists() or not self._file.stat().st_size:
                events = [_event(0, file_version=_VERSION), *events]
            append(self._file, b"".join(map(_record, events)))
        except OSError as error:
            message = f"{self._file} could not be written ({error.strerror}); the run goes on without it."
            warnings.warn(message, JaxmnistWarning, stacklevel=2)
            return False
        return True


def require_tensorboard() -> None:
    """Checks that what events are made with is there.

    Raises:
        UsageError: tensorboardX is not installed.
    """
    _installed("tensorboardX")


def read_events(run: Path) -> Iterator[Any]:
    """The events of a run, `tensorboardX.proto.event_pb2.Event`, up to what is damaged in each of its files."""
    parse = _installed("tensorboardX.proto.event_pb2").Event.FromString
    for file in sorted((run / FOLDER).glob("events.out.tfevents.*")):
        try:
            content = file.read_bytes()
        except OSError:
            continue
        while len(content) >= 16:
            (size,) = struct.unpack("<Q", content[:8])
            data, end = content[12 : 12 + size], 16 + size
            if content[12 + size : end] != _sum(data):
                break
            yield parse(data)
            content = content[end:]


def _scalars(row: dict[str, Any]) -> Any:
    event = _event(row["epoch"])
    tags = {f"{metric}/{split}": f"{split}_{metric}" for metric in _METRICS for split in _SPLITS}
    for tag, key in (tags | {"learning_rate": "learning_rate", "seconds": "seconds"}).items():
        if key in row:
            event.summary.value.add(tag=tag, simple_value=row[key])
    return event


def _event(step: int, **content: Any) -> Any:
    return _installed("tensorboardX.proto.event_pb2").Event(wall_time=time.time(), step=step, **content)


def _record(event: Any) -> bytes:
    """An event as it lies in a file: its length and its bytes, each with a sum that tells damage."""
    data = event.SerializeToString()
    length = struct.pack("<Q", len(data))
    return length + _sum(length) + data + _sum(data)


def _sum(data: bytes) -> bytes:
    return struct.pack("<I", _installed("tensorboardX.record_writer").masked_crc32c(data))


def _installed(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            "--tensorboard needs the package tensorboardX, which is not installed; "
            "run pip install 'jaxmnist[tensorboard]', or leave the option out."
        ) from error
