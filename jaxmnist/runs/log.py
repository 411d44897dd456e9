"""The log of a run, `run.log`: a line with the time for each session, epoch and end."""

import contextlib
import datetime
from collections.abc import Iterator
from pathlib import Path

from jaxmnist.errors import one_line
from jaxmnist.runs.progress import Callback, Progress
from jaxmnist.runtime.files import append

LOG = "run.log"


@contextlib.contextmanager
def logged(run: Path, where: str) -> Iterator[Callback]:
    """Context manager for a session of a run; yields the callback that logs its progress.

    A log that cannot be written is left out: what matters about a disk, the run itself says.

    Args:
        run: the run folder.
        where: the devices, in words.
    """

    def write(text: str) -> None:
        now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        with contextlib.suppress(OSError):
            append(run / LOG, f"{now}  {one_line(text)}\n".encode())

    def write_progress(progress: Progress) -> None:
        if progress.kind == "start":
            write(f"start after epoch {progress.epoch}, on {where}")
        elif progress.row is not None:
            figures = (
                f"{name} {value:.6g}"
                for name, value in progress.row.items()
                if name.endswith(("_loss", "_accuracy", "_rate", "seconds", "_steps"))
            )
            write(f"epoch {progress.epoch}: {', '.join(figures)}")

    try:
        yield write_progress
    except BaseException as error:
        write(f"ended: {str(error) or type(error).__name__}")
        raise
    write("complete")
