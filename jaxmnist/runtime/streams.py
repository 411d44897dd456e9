"""Standard output and error that cannot hurt: closed, broken or full, they lose text and not the work."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any


class Outlet:
    """A text stream of which a failed write ends nothing; the first failure is kept, what follows is dropped.

    A reader that goes away (`train.py | head`) or a full disk must not end a training run. Text that the
    stream's encoding does not have is written with escapes.
    """

    def __init__(self, stream: Any) -> None:
        self.failure: OSError | None = None
        """What a write failed with; None as long as none has, and where the reader went away by choice."""
        self._stream = stream
        self._is_lost = False
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        if not self._is_lost:
            try:
                return self._stream.write(text)
            except OSError as error:
                self._lose(error)
        return len(text)

    def flush(self) -> None:
        if not self._is_lost:
            try:
                self._stream.flush()
            except OSError as error:
                self._lose(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _lose(self, error: OSError) -> None:
        self._is_lost = True
        self.failure = None if error.errno == errno.EPIPE else error
        # What Python still holds would fail once more at its end, with a message of its own.
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


@contextlib.contextmanager
def outlets() -> Iterator[Outlet]:
    """Within, `sys.stdout` (which is given) and `sys.stderr` are outlets, and none of them is closed."""
    _reopen_closed()
    out, error = Outlet(sys.stdout), Outlet(sys.stderr)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):  # pyright: ignore[reportArgumentType]
        try:
            yield out
        finally:
            out.flush()
            error.flush()


def keep_from_libraries() -> None:
    """Leaves standard output to Python: what libraries in C print there is dropped from now on."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)
        sys.stdout = Outlet(os.fdopen(kept, "w", buffering=1))  # pyright: ignore[reportAttributeAccessIssue]


def _reopen_closed() -> None:
    # The next file to be opened, a checkpoint say, would get the number of a closed stream, and what C libraries
    # print there.
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))
