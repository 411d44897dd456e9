"""Ending a run on SIGINT or SIGTERM without losing it."""

import os
import signal
from types import FrameType
from typing import Any


class StopSignals:
    """While in force, the first SIGINT or SIGTERM is only noted; a second one ends the process at once.

    `requested` is the number of the signal that arrived, None while none has.
    """

    def __init__(self) -> None:
        self.requested: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopSignals":
        for signum in (signal.SIGINT, signal.SIGTERM):
            # Only the main thread may set handlers; elsewhere the caller's own stay in force.
            try:
                self._previous[signum] = signal.signal(signum, self._handle)
            except ValueError:
                break
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        del frame
        if self.requested is not None:
            os._exit(128 + signum)
        self.requested = signum
