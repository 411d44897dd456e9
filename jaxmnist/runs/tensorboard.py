"""TensorBoard events of a run, in `RUN/tensorboard/`; requires the extra `tensorboard`."""

import importlib
import struct
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxmnist.errors import JaxmnistWarning, UsageError
from jaxmnist.runs.folder import read_metrics
from jaxmnist.runs.progress import Progress
from jaxmnist.runtime.files import append

if TYPE_CHECKING:
    from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]

FOLDER = "tensorboard"

_FILES = "events.out.tfevents.*"
_SPLITS, _METRICS = ("train", "val", "test", "plain_val", "plain_test"), ("loss", "accuracy")


class EventWriter:
    """Callback that writes an event for every epoch, with all its scalars.

    Every session starts a new file with the epochs so far and deletes the files of earlier sessions. So each epoch is
    there once, and a torn record hides no later ones. tensorboardX provides the events but not the writer: its
    `SummaryWriter` has a thread of its own, in which a full disk ends in a traceback.
    """

    def __init__(self, run: Path) -> None:
        """Checks the installation; nothing is written yet.

        Args:
            run: the run folder.

        Raises:
            UsageError: tensorboardX is not installed.
        """
        require_tensorboard()
        self.run = run
        self._events: list[Event] = []
        self._written = 0
        self._file: Path | None = None

    def __call__(self, progress: Progress) -> None:
        """Writes the epochs of earlier sessions at the start, and every epoch when it ends."""
        if progress.kind == "start":
            self._events = [_event(0, file_version="brain.Event:2")]
            self._events += map(_scalars, read_metrics(self.run)[: progress.epoch])
            if progress.epoch:
                self._write()
        elif progress.row is not None:
            self._events.append(_scalars(progress.row))
            self._write()

    def add_picture(self, name: str, png: bytes, size: tuple[int, int], step: int) -> None:
        """Writes an image.

        Args:
            name: tag of the image.
            png: content of a PNG file.
            size: width and height in pixels.
            step: epoch that the image shows.
        """
        event = _event(step)
        image = {"width": size[0], "height": size[1], "colorspace": 3, "encoded_image_string": png}
        event.summary.value.add(tag=name, image=image)
        self._events.append(event)
        self._write()

    def _write(self) -> None:
        """Appends the new events; after a failure the next call starts a new file with all events."""
        folder = self.run / FOLDER
        try:
            if self._file is None:
                folder.mkdir(exist_ok=True)
                earlier = list(folder.glob(_FILES))
                self._file, self._written = folder / f"events.out.tfevents.{time.time_ns()}.jaxmnist", 0
                for path in earlier:
                    path.unlink()
            append(self._file, b"".join(map(_record, self._events[self._written :])))
            self._written = len(self._events)
        except OSError as error:
            self._file = None
            message = f"{folder} cannot be written ({error.strerror}); training continues without it."
            warnings.warn(message, JaxmnistWarning, stacklevel=2)


def require_tensorboard() -> None:
    """Checks that tensorboardX is installed.

    Raises:
        UsageError: it is not installed.
    """
    try:
        importlib.import_module("tensorboardX")
    except ImportError as error:
        raise UsageError(
            "--tensorboard needs tensorboardX, which is not installed; run pip install 'jaxmnist[tensorboard]' or "
            "leave the option out."
        ) from error


def _scalars(row: Mapping[str, Any]) -> "Event":
    event = _event(row["epoch"])
    tags = {f"{metric}/{split}": f"{split}_{metric}" for metric in _METRICS for split in _SPLITS}
    for tag, key in (tags | {"learning_rate": "learning_rate", "seconds": "seconds"}).items():
        if key in row:
            event.summary.value.add(tag=tag, simple_value=row[key])
    return event


def _event(step: int, **content: Any) -> "Event":
    events = importlib.import_module("tensorboardX.proto.event_pb2")
    return events.Event(wall_time=time.time(), step=step, **content)


def _record(event: "Event") -> bytes:
    """Returns an event as a record of a file: its length and its bytes, each with a checksum."""
    checksum = importlib.import_module("tensorboardX.record_writer").masked_crc32c
    data = event.SerializeToString()
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", checksum(length)) + data + struct.pack("<I", checksum(data))
