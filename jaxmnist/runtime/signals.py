"""Ending a run on SIGINT or SIGTERM without losing it."""

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """While in force, the first SIGINT or SIGTERM is noted for the main thread to end by; a second ends at once.

    A main thread that is deep in a compilation or a device call sees no signal. So a thread of its own waits
    for them: where the work is not ended in time, it saves what can be saved and ends the process. Without time
    it ends at once. It may: whatever is being written then is written whole or not at all.

    `requested` is the number of the signal that arrived, None while none has.
    """

    def __init__(self, seconds: float = 0.0, message: str = "interrupted.") -> None:
        """Prepares to wait.

        Args:
            seconds: what the main thread has, to end by itself.
            message: what is said where it does not.
        """
        self.requested: int | None = None
        self._seconds, self._message = seconds, message
        self._rescue: Callable[[], None] | None = None
        self._lock = threading.RLock()
        self._ending = False
        self._previous: dict[int, Any] = {}
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "StopSignals":
        # Only the main thread may set handlers; elsewhere the caller's own stay in force.
        if threading.current_thread() is not threading.main_thread():
            return self
        self._ear, self._mouth = os.pipe()
        os.set_blocking(self._mouth, False)
        self._previous_mouth = signal.set_wakeup_fd(self._mouth, warn_on_full_buffer=False)
        self._previous = {signum: signal.signal(signum, self._handle) for signum in _SIGNALS}
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is None:
            return
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        signal.set_wakeup_fd(self._previous_mouth)
        os.write(self._mouth, bytes([_END]))
        self._thread.join()
        os.close(self._ear)
        os.close(self._mouth)

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """For the time of a save, which is not to be cut off, nor done twice."""
        with self._lock:
            yield
            # Who saves after a signal is about to end.
            self._ending = self.requested is not None

    @contextlib.contextmanager
    def busy(self, rescue: Callable[[], None]) -> Iterator[None]:
        """For the time of work that may take long: `rescue` saves what there was before it, in another thread."""
        self._rescue = rescue
        try:
            yield
        finally:
            with self._lock:
                self._rescue = None

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        del frame
        self.requested = self.requested or signum

    def _watch(self) -> None:
        first, deadline = 0, None
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([self._ear], [], [], left)[0]:
                # In a thread of its own, so that a second signal is still seen.
                threading.Thread(target=self._give_up, args=(first,), daemon=True).start()
                deadline = None
                continue
            (number,) = os.read(self._ear, 1)
            if number == _END:
                return
            if number not in _SIGNALS:
                continue
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
            with contextlib.suppress(OSError, ValueError):
                # The cursor is hidden while a progress bar is shown.
                if sys.stdout.isatty():
                    os.write(sys.stdout.fileno(), b"\033[?25h\n")
                os.write(2, f"error: {self._message}\n".encode())
            os._exit(128 + signum)


_END = 0
