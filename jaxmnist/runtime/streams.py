"""Standard output and error whose failures never stop a run."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

from jaxmnist.errors import one_line

if TYPE_CHECKING:
    from typing import TextIO  # no class of a stream is a subclass, so that no check at run time would pass


class Outlet:
    """A text stream whose write errors are swallowed, so a closed pipe or full disk never stops a run.

    After the first error all further text is dropped. Characters missing from the stream's encoding are escaped.
    """

    def __init__(self, stream: "TextIO") -> None:
        self.failure: OSError | None = None
        """First error of a write; None also if the reader closed the pipe, as in `train.py | head`."""
        self._stream = stream
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]

    def write(self, text: str) -> int:
        """Writes a text, or drops it; returns its length either way."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._redirect_to_nowhere(error)
            return len(text)

    def flush(self) -> None:
        """Flushes the stream."""
        try:
            self._stream.flush()
        except OSError as error:
            self._redirect_to_nowhere(error)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def _redirect_to_nowhere(self, error: OSError) -> None:
        if error.errno != errno.EPIPE:
            self.failure = self.failure or error
        # Below Python's buffer: its text would fail again at exit, with a message from Python.
        with contextlib.suppress(OSError, ValueError):
            _connect_to_nowhere(self._stream.fileno())


@contextlib.contextmanager
def outlets() -> Iterator[Outlet]:
    """Context manager that puts an outlet around `sys.stderr` and `sys.stdout`; yields the latter."""
    # A closed stream's number would go to the next file opened, a checkpoint say, and C libraries print there.
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))
    out, error = Outlet(sys.stdout), Outlet(sys.stderr)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):  # pyright: ignore[reportArgumentType]
        try:
            yield out
        finally:
            out.flush()
            error.flush()


def drop_library_output() -> None:
    """Reserves standard output for Python; text that C libraries print there is dropped from now on."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        stdout = os.dup(1)
        _connect_to_nowhere(1)
        sys.stdout = Outlet(os.fdopen(stdout, "w", buffering=1))  # pyright: ignore[reportAttributeAccessIssue]


def exit_with(code: int, message: str) -> NoReturn:
    """Ends the process at once, from any thread, with one error line; nothing is unwound or flushed."""
    with contextlib.suppress(OSError, ValueError):
        if sys.stdout.isatty():
            os.write(sys.stdout.fileno(), b"\033[?25h\n")  # shows the cursor, which a progress bar hides
        os.write(2, f"error: {one_line(message)}\n".encode(errors="backslashreplace"))
    os._exit(code)


def _connect_to_nowhere(descriptor: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
