"""The processes that train one run together.

Every process is connected with process 0, the leader. The leader decides everything that depends on a clock, a signal
or the disk, and the others follow. A connection that closes, or is silent for too long, means that its process
has ended. The others then end too, with one sentence, instead of waiting in a collective forever.
"""

import contextlib
import json
import queue
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from jaxmnist.errors import JaxmnistError, LostProcessError, UsageError, shortened
from jaxmnist.runtime.connections import receive
from jaxmnist.runtime.streams import exit_with

PING_SECONDS, SILENCE_SECONDS = 3.0, 20.0
"""Time between signs of life, and the silence after which a process counts as ended: a machine that fails closes
no connection."""

SAVE_SECONDS = 5.0
"""Time for the leader to complete a save that is being written when a process ends."""

_MOST_NAMED = 3

_PING, _VALUE, _SIGNAL, _BARRIER, _LOST, _END = b"P", b"V", b"S", b"B", b"L", b"E"
_HEADER = struct.Struct(">cI")  # kind of message, length of its content

T = TypeVar("T")


class Team:
    """The processes of a run; `ALONE` is that of a run in a single process."""

    def __init__(
        self, rank: int, size: int, peers: Mapping[int, socket.socket], leave: Callable[[], None]
    ) -> None:
        """Starts watching the other processes.

        Args:
            rank: number of this process; 0 leads.
            size: number of processes.
            peers: connections by rank: of the leader to all others, of any other process to the leader.
            leave: called once all processes have ended their joint work.
        """
        self.rank, self.size = rank, size
        self.remedy = "start all of them again"
        """Clause that says what to do after a process has ended."""
        self._peers = peers
        self._leave = leave
        self._values: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._arrivals: queue.SimpleQueue[tuple[int, bytes]] = queue.SimpleQueue()
        self._signum: int | None = None
        self._ended: set[int] = set()
        self._all_ended = threading.Event()
        self._fails = False
        self._lock, self._writing = threading.RLock(), threading.RLock()
        self._sending = {peer: threading.Lock() for peer in peers}
        for peer in peers:
            threading.Thread(target=self._watch, args=(peer,), daemon=True).start()
        if peers:
            threading.Thread(target=self._ping, daemon=True).start()

    @property
    def is_leader(self) -> bool:
        """True if this process writes and prints."""
        return self.rank == 0

    def share(self, value: bytes = b"") -> bytes:
        """Returns the leader's value in every process."""
        if not self.is_leader:
            return self._values.get()
        for peer in self._peers:
            self._send(peer, _VALUE, value)
        return value

    def agree(self, value: T | None) -> T:
        """Returns the leader's value, as it comes back from JSON, in every process; the others may pass None."""
        if not self._peers:
            return value  # pyright: ignore[reportReturnType]
        return json.loads(self.share(json.dumps(value).encode() if self.is_leader else b""))

    def barrier(self, content: bytes = b"") -> list[int]:
        """Waits for all processes, however long they take; a collective of devices waits for half a minute only.

        Returns:
            Ranks of the processes whose content differs from the leader's, the same list in every process.
        """
        if not self.is_leader:
            self._send(0, _BARRIER, content)
            return self.agree([])
        arrived = [self._arrivals.get() for _ in self._peers]
        return self.agree(sorted(peer for peer, theirs in arrived if theirs != content))

    def require_same(self, values: Mapping[str, str]) -> None:
        """Checks that all processes pass the same values.

        Args:
            values: values by name.

        Raises:
            UsageError: one differs; the message, the same in every process, names the first few.
        """
        if not self._peers:
            return
        differing = None
        if self.is_leader:
            arrived = dict(self._arrivals.get() for _ in self._peers)
            differing = [
                f"{name} is {_shown(theirs, name)} in process {rank} and {_shown(values, name)} in process 0"
                for rank, theirs in ((rank, json.loads(arrived[rank])) for rank in sorted(arrived))
                for name in dict.fromkeys([*values, *theirs])
                if theirs.get(name) != values.get(name)
            ]
        else:
            self._send(0, _BARRIER, json.dumps(dict(values)).encode())
        if differing := self.agree(differing):
            rest = f" and {len(differing) - _MOST_NAMED} more" if len(differing) > _MOST_NAMED else ""
            raise UsageError(
                f"the processes were started with different options: {'; '.join(differing[:_MOST_NAMED])}{rest}; "
                "start all with the same."
            )

    def agree_on_signal(self, signum: int | None) -> int | None:
        """Returns the number of a signal that any process received, or None; it may take one call more to arrive."""
        if signum is not None and not self.is_leader:
            self._send(0, _SIGNAL, bytes([signum]))
        return self.agree(signum or self._signum)

    def writing(self) -> contextlib.AbstractContextManager[object]:
        """Context manager for a save, which the end of another process must not cut off."""
        return self._writing

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Context manager for joint work: waits for the others on exit, or sends them the error.

        Raises:
            LostProcessError: another process ended. As a rule this process has then been ended already.
        """
        if not self._peers:
            yield
            return
        try:
            yield
            self._end()
        except JaxmnistError as error:
            # An interruption reaches all processes, which end together.
            if getattr(error, "signum", None) is not None:
                self._end()
            else:
                self._tell(error.exit_code, str(error))
            raise
        except BaseException as error:
            # A collective fails as soon as a process ends. The watching thread, which knows why, speaks first.
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
        """Makes the others end for the same reason, and gives them two seconds for it."""
        self._fails = True
        for peer in self._peers:
            self._send(peer, _LOST, json.dumps([self.rank, code, sentence]).encode())
        self._all_ended.wait(2.0)

    def _watch(self, peer: int) -> None:
        connection = self._peers[peer]
        connection.settimeout(SILENCE_SECONDS)
        try:
            while True:
                kind, length = _HEADER.unpack(receive(connection, _HEADER.size))
                content = receive(connection, length)
                if kind == _VALUE:
                    self._values.put(content)
                elif kind == _SIGNAL:
                    self._signum = self._signum or content[0]
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
        # A lost connection is noticed by the thread that reads from it.
        with contextlib.suppress(OSError), self._sending[peer]:
            self._peers[peer].sendall(_HEADER.pack(kind, len(content)) + content)

    def _lose(self, rank: int, code: int | None, reason: str) -> None:
        """Ends this process because process `rank` ended; the leader tells the others first."""
        with self._lock:
            if self._fails:  # for a reason of its own, which it is about to tell
                self._note_end(rank)
                return
            if self.is_leader:
                for peer in self._peers:
                    if peer != rank:
                        self._send(peer, _LOST, json.dumps([rank, code, reason]).encode())
            self._writing.acquire(timeout=SAVE_SECONDS)
            if code is None:
                exit_with(LostProcessError.exit_code, f"process {rank} {reason}; {self.remedy}.")
            exit_with(code, f"process {rank} ended: {reason}")


def _shown(values: Mapping[str, str], name: str) -> str:
    return shortened(values[name]) if name in values else "missing"


ALONE = Team(0, 1, {}, leave=lambda: None)
"""The team of a run in a single process."""
