"""A clean end of a run on SIGINT, SIGTERM or SIGHUP."""

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from jaxmnist.runtime.streams import exit_with

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_END = 0  # byte on the pipe, where signals write their numbers


class StopSignals:
    """Context manager that notes the first of these signals; a second one ends the process at once.

    The main thread is expected to see `requested` and to end by itself. While it compiles or waits for a device
    it cannot, so a thread waits for signals too: if the work has not ended in time, that thread saves what can
    be saved and ends the process. That is safe, as files are written whole or not at all.

    A signal that is ignored stays ignored: under `nohup` a run outlives its terminal.
    """

    def __init__(self, seconds: float = 0.0, message: str = "interrupted.") -> None:
        """Sets the limit; signals are handled inside the `with` block only.

        Args:
            seconds: time for the main thread to end by itself.
            message: error message where it does not.
        """
        self.requested: int | None = None
        """Number of the signal that arrived, or None."""
        self._seconds, self._message = seconds, message
        self._rescue: Callable[[], None] | None = None
        self._lock = threading.RLock()
        self._ending = False
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "StopSignals":
        # Only the main thread may set handlers; in another thread the caller's own stay in force.
        if threading.current_thread() is not threading.main_thread():
            return self
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._previous_writer = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._previous = {
            signum: signal.signal(signum, self._handle)
            for signum in _SIGNALS
            if signal.getsignal(signum) != signal.SIG_IGN
        }
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is None:
            return
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        signal.set_wakeup_fd(self._previous_writer)
        os.write(self._writer, bytes([_END]))
        self._thread.join()
        os.close(self._reader)
        os.close(self._writer)

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
        self.requested = self.requested or signum

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
