"""The processes that train one run together: who writes, what they agree on, and that none outlives another.

Every process is connected with process 0, the leader. What depends on a clock, on a signal or on the disk is the
leader's to say, and the others hear it. A connection that closes, or is silent for too long, is a process that
ended: then the others end as well, with one sentence, instead of waiting in a collective for ever.
"""

import contextlib
import json
import os
import queue
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from jaxmnist.errors import JaxmnistError, LostProcessError
from jaxmnist.runtime.connections import receive

PING_SECONDS, SILENCE_SECONDS = 3.0, 20.0
"""How often a process says that it is there, and after what silence it counts as ended: its machine may be gone,
which closes no connection."""

SAVE_SECONDS = 5.0
"""What the leader has to complete a save that is being written when a process ends."""

_PING, _VALUE, _SIGNAL, _BARRIER, _LOST, _END = b"P", b"V", b"S", b"B", b"L", b"E"


class Team:
    """The processes of a run. Alone, nobody has to be asked; see `ALONE`."""

    def __init__(
        self, rank: int, size: int, connections: Sequence[socket.socket], leave: Callable[[], None]
    ) -> None:
        """Begins to watch.

        Args:
            rank: number of this process; 0 leads.
            size: how many there are.
            connections: of the leader those to 1, 2, ... in this order; of the others the one to the leader.
            leave: called when all have ended what they do together.
        """
        self.rank, self.size = rank, size
        self.remedy = "start all of them again"
        """What to do when a process has ended, as a clause."""
        self._peers = dict(enumerate(connections, start=1)) if rank == 0 else {0: connections[0]}
        self._leave = leave
        self._values: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._arrivals: queue.SimpleQueue[tuple[int, bytes]] = queue.SimpleQueue()
        self._asked: int | None = None
        self._ended: set[int] = set()
        self._all_ended = threading.Event()
        self._fails = False
        self._lock, self._writing = threading.RLock(), threading.RLock()
        self._sending = {peer: threading.Lock() for peer in self._peers}
        for peer in self._peers:
            threading.Thread(target=self._watch, args=(peer,), daemon=True).start()
        threading.Thread(target=self._ping, daemon=True).start()

    @property
    def is_leader(self) -> bool:
        """Whether this process writes and prints."""
        return self.rank == 0

    def share(self, value: bytes = b"") -> bytes:
        """What the leader gives, in every process."""
        if not self.is_leader:
            return self._values.get()
        for peer in self._peers:
            self._send(peer, _VALUE, value)
        return value

    def agree(self, value: Any = None) -> Any:
        """The leader's value, which JSON can hold, in every process."""
        return json.loads(self.share(json.dumps(value).encode() if self.is_leader else b""))

    def barrier(self, content: bytes = b"") -> list[int]:
        """Waits for all others, however long they take: the collectives of devices wait for half a minute only.

        Returns:
            The processes that brought other content than the leader, which all know then.
        """
        if not self.is_leader:
            self._send(0, _BARRIER, content)
            return self.agree()
        arrived = [self._arrivals.get() for _ in self._peers]
        return self.agree(sorted(peer for peer, brought in arrived if brought != content))

    def agree_on_signal(self, signum: int | None) -> int | None:
        """Number of a signal that any process got, None while none has; the leader may learn of it a call later."""
        if signum is not None and not self.is_leader:
            self._send(0, _SIGNAL, bytes([signum]))
        return self.agree(signum or self._asked)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """For the time of a save, which the end of another process is not to cut off."""
        with self._writing:
            yield

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Around all that is done together: at its end waits for the others, or tells them why it ends early.

        Raises:
            LostProcessError: another process ended. As a rule this process has then been ended already.
        """
        try:
            yield
            self._end()
        except JaxmnistError as error:
            # Where all end for one reason (a signal, say), they end together.
            if getattr(error, "signum", None) is not None:
                self._end()
            else:
                self._tell(error.exit_code, str(error))
            raise
        except BaseException as error:
            # A collective fails in the moment in which the connection to the process that ended closes.
            time.sleep(0 if isinstance(error, KeyboardInterrupt) else SILENCE_SECONDS + 2 * PING_SECONDS)
            self._tell(1, f"{type(error).__name__}: {error}")
            raise

    def _end(self) -> None:
        if not self.is_leader:
            self._send(0, _END)
        self._all_ended.wait()
        for peer in self._peers if self.is_leader else ():
            self._send(peer, _END)
        self._leave()

    def _tell(self, code: int, sentence: str) -> None:
        """Has the others end for that reason, and waits for it."""
        self._fails = True
        for peer in self._peers:
            self._send(peer, _LOST, json.dumps([self.rank, code, sentence]).encode())
        deadline = time.monotonic() + 2.0
        while len(self._ended) < len(self._peers) and time.monotonic() < deadline:
            time.sleep(0.01)

    def _watch(self, peer: int) -> None:
        connection = self._peers[peer]
        connection.settimeout(SILENCE_SECONDS)
        try:
            while True:
                kind, length = struct.unpack(">cI", receive(connection, 5))
                content = receive(connection, length)
                if kind == _VALUE:
                    self._values.put(content)
                elif kind == _SIGNAL:
                    self._asked = self._asked or content[0]
                elif kind == _BARRIER:
                    self._arrivals.put((peer, content))
                elif kind == _LOST:
                    self._lose(*json.loads(content))
                elif kind == _END:
                    self._note_end(peer)
        except TimeoutError:
            self._lose(peer, None, f"has been silent for {SILENCE_SECONDS:g} s")
        except OSError:
            if peer not in self._ended:
                self._lose(peer, None, "ended")

    def _note_end(self, peer: int) -> None:
        with self._lock:
            self._ended.add(peer)
            if len(self._ended) == len(self._peers):
                self._all_ended.set()

    def _ping(self) -> None:
        while True:
            for peer in self._peers:
                self._send(peer, _PING)
            time.sleep(PING_SECONDS)

    def _send(self, peer: int, kind: bytes, content: bytes = b"") -> None:
        # Who is gone is noticed where its messages are read.
        with contextlib.suppress(OSError), self._sending[peer]:
            self._peers[peer].sendall(struct.pack(">cI", kind, len(content)) + content)

    def _lose(self, rank: int, code: int | None, reason: str) -> None:
        """Ends this process, and through the leader all others, as one has ended."""
        with self._lock:
            if self._fails:  # for a reason of its own, which it is about to tell
                self._note_end(rank)
                return
            if self.is_leader:
                for peer in self._peers:
                    if peer != rank:
                        self._send(peer, _LOST, json.dumps([rank, code, reason]).encode())
            self._writing.acquire(timeout=SAVE_SECONDS)
            what = f"process {rank} {reason}" if code is None else f"process {rank} ended: {reason}"
            message = f"error: {what.rstrip('.')}; {self.remedy}.\n" if code is None else f"error: {what}\n"
            with contextlib.suppress(OSError, ValueError):
                # The cursor is hidden while a progress bar is shown.
                if sys.stdout.isatty():
                    os.write(sys.stdout.fileno(), b"\033[?25h\n")
                os.write(2, message.encode())
            os._exit(LostProcessError.exit_code if code is None else code)


class _Alone(Team):
    """A run of one process."""

    def __init__(self) -> None:
        self.rank, self.size, self.remedy = 0, 1, ""

    def share(self, value: bytes = b"") -> bytes:
        return value

    def agree(self, value: Any = None) -> Any:
        return value

    def barrier(self, content: bytes = b"") -> list[int]:
        return []

    def agree_on_signal(self, signum: int | None) -> int | None:
        return signum

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        yield

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        yield


ALONE: Team = _Alone()
"""The team of a run in one process."""
