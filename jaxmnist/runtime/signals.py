"""A clean end of a run on SIGINT, SIGTERM or SIGHUP, in a command or in another program."""

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from types import FrameType

from jaxmnist.runtime.streams import exit_with

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_END = 0  # byte on the pipe, where signals write their numbers
_PATIENCE = 10.0  # seconds in which a further Ctrl-C cannot cut off the save that the first one asked for

_is_command: ContextVar[bool] = ContextVar("is_command", default=False)


@contextlib.contextmanager
def own_process() -> Iterator[None]:
    """Context manager for a command, whose process a signal may end; any other process belongs to the caller."""
    token = _is_command.set(True)
    try:
        yield
    finally:
        _is_command.reset(token)


class StopSignals:
    """Context manager that notes the first of these signals.

    The main thread is expected to see `requested` and to end its work by itself, once the call in progress returns.
    Afterwards the handlers from before are in force again, and one of the caller's own gets the signal as well.

    In a command (`own_process`) the main thread may take too long, while it compiles or waits for a device. A thread
    therefore waits for signals too: if the work has not ended in time, it saves what can be saved and ends the process.
    That is safe, as files are written whole or not at all. A second signal ends a command at once.

    A signal that is ignored stays ignored: under `nohup` a run outlives its terminal. Outside of the main thread no
    signal is touched.
    """

    def __init__(self, seconds: float = 0.0, message: str = "interrupted.") -> None:
        """Sets the limit; signals are handled inside the `with` block only.

        Args:
            seconds: time for the main thread of a command to end by itself.
            message: error message where it does not.
        """
        self.requested: int | None = None
        """Number of the signal that arrived, or None."""
        self._seconds, self._message = seconds, message
        self._rescue: Callable[[], None] | None = None
        self._lock = threading.RLock()
        self._ending = False
        self._previous: dict[signal.Signals, Callable[[int, FrameType | None], object] | int] = {}
        self._patient_until = 0.0
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "StopSignals":
        # Only the main thread may set handlers; in another thread the caller's own stay in force.
        if threading.current_thread() is not threading.main_thread():
            return self
        if _is_command.get():
            self._reader, self._writer = os.pipe()
            os.set_blocking(self._writer, False)
            self._previous_writer = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for signum in _SIGNALS:
            handler = signal.getsignal(signum)
            if handler not in (signal.SIG_IGN, None):  # None: set by a C library, and could not be restored
                self._previous[signum] = handler
                signal.signal(signum, self._handle)
        if _is_command.get():
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, *__: object) -> None:
        for signum, handler in reversed(
            self._previous.items()
        ):  # SIGINT last: from then on it can cut this off
            signal.signal(signum, handler)
        if self._thread is not None:
            signal.set_wakeup_fd(self._previous_writer)
            os.write(self._writer, bytes([_END]))
            self._thread.join()
            os.close(self._reader)
            os.close(self._writer)
        elif self.requested is not None:
            self._pass_on(self.requested, error)

    def _pass_on(self, signum: int, error: BaseException | None) -> None:
        """Gives the signal to the caller's handler; Python's own, which only raises, if the work has not."""
        handler = self._previous.get(signal.Signals(signum))
        if callable(handler) and (error is None or handler is not signal.default_int_handler):
            signal.raise_signal(signum)

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """Context manager for a save, which a signal must neither cut off nor repeat."""
        with self._lock:
            yield
            # A save after a signal is the last one: the main thread is about to end.
            self._ending = self.requested is not None

    @contextlib.contextmanager
    def busy(self, rescue: Callable[[], None]) -> Iterator[None]:
        """Context manager for long work; `rescue` saves the state from before it, in another thread."""
        self._rescue = rescue
        try:
            yield
        finally:
            with self._lock:
                self._rescue = None

    def _handle(self, signum: int, _: FrameType | None) -> None:
        if self.requested is None:
            self.requested, self._patient_until = signum, time.monotonic() + _PATIENCE
        elif signum == signal.SIGINT and self._thread is None and time.monotonic() > self._patient_until:
            raise KeyboardInterrupt

    def _watch(self) -> None:
        first, deadline = 0, None
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([self._reader], [], [], left)[0]:
                # In another thread, so that a second signal is still seen.
                threading.Thread(target=self._give_up, args=(first,), daemon=True).start()
                deadline = None
                continue
            (number,) = os.read(self._reader, 1)
            if number == _END:
                return
            if number in _SIGNALS:
                if first:
                    os._exit(128 + number)
                first, deadline = number, time.monotonic() + self._seconds

    def _give_up(self, signum: int) -> None:
        with self._lock:
            if self._ending:
                return
            with contextlib.suppress(Exception):
                if self._rescue is not None:
                    self._rescue()
            exit_with(128 + signum, self._message)
