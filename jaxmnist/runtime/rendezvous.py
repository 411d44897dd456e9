"""The start of several processes: all find process 0, the leader, or are told in time why not.

The leader listens at the address of `--coordinator`. Every other process says how many processes it expects and which
of them it is, and the leader answers. Once all are there, it tells them the port of JAX's own service, which knows no
mistake: it waits for minutes, and then aborts.
"""

import contextlib
import os
import select
import socket
import struct
import threading
import time

from jaxmnist.errors import LostProcessError, UsageError
from jaxmnist.runtime.connections import HELLO_SECONDS, RETRY_SECONDS, connect_to, in_time, listen, receive

START_SECONDS = 30.0
"""Longest wait for the other processes at the start, unless `--timeout` says otherwise."""

_MAGIC = b"jaxmnist-run-1\0\0"
_HELLO = struct.Struct(">16sII")  # this protocol, number of processes, rank
_ANSWER = struct.Struct(">16sH")  # this protocol, length of the reason for a refusal
_PORT = struct.Struct(">H")
_REMEDY = "start all of them with the same --coordinator, or give them more time with --timeout"


class Leader:
    """The listening end, in process 0."""

    def __init__(self, host: str, port: int, size: int) -> None:
        """Begins to listen.

        Args:
            host: name or address of this machine, as all processes know it.
            port: the port.
            size: number of processes.

        Raises:
            UsageError: the port cannot be used.
        """
        self._size, self._joined = size, dict[int, socket.socket]()
        self._lock, self._is_complete, self._is_over = threading.Lock(), threading.Event(), threading.Event()
        self._strangers: dict[str, None] = {}
        try:
            self._server = listen(host, port)
        except OSError as error:
            raise UsageError(
                f"process 0 cannot use port {port} of this machine ({os.strerror(error.errno or 0)}); name another one "
                "in --coordinator, the same for all processes."
            ) from error
        self.address: str = self._server.getsockname()[0]
        """Address that it listens at; `::` or `0.0.0.0` for all of this machine."""

    def wait(self, seconds: float) -> dict[int, socket.socket]:
        """Waits for the other processes and returns their connections by rank.

        Raises:
            LostProcessError: one did not come in time.
        """
        accepting = threading.Thread(target=self._accept, daemon=True)
        accepting.start()
        is_complete = self._is_complete.wait(seconds)
        self._is_over.set()
        accepting.join()
        self._server.close()
        with self._lock:
            if is_complete:
                return self._joined
            for connection in self._joined.values():
                connection.close()
            missing = [str(rank) for rank in range(1, self._size) if rank not in self._joined]
        remarks = "".join(f"; {remark}" for remark in list(self._strangers)[:3])
        raise LostProcessError(
            f"process{'es' * (len(missing) > 1)} {', '.join(missing)} of {self._size} did not reach process 0 within "
            f"{seconds:g} s{remarks}; {_REMEDY}."
        )

    def _accept(self) -> None:
        self._server.settimeout(RETRY_SECONDS)
        while not self._is_over.is_set():
            with contextlib.suppress(OSError):
                connection, address = self._server.accept()
                # In a thread each: one that says nothing keeps nobody waiting.
                threading.Thread(target=self._greet, args=(connection, address[0]), daemon=True).start()

    def _greet(self, connection: socket.socket, origin: str) -> None:
        with contextlib.suppress(OSError):
            try:
                magic, size, rank = _HELLO.unpack(receive(connection, _HELLO.size, HELLO_SECONDS))
            except OSError:
                magic, size, rank = b"", 0, 0
            refusal = "" if magic == _MAGIC else "it is no process of a run"
            if not refusal and size != self._size:
                refusal = f"it expects {size} processes and process 0 expects {self._size}"
            with self._lock:
                earlier = self._joined.get(rank)
                if not refusal and not 0 < rank < self._size:
                    refusal = f"there is no process {rank} to join process 0"
                elif not refusal and earlier is not None and not _has_closed(earlier):
                    refusal = f"there is another process {rank}"
                if not refusal:
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    if earlier is not None:
                        earlier.close()
                    self._joined[rank] = connection
                    connection.sendall(_ANSWER.pack(_MAGIC, 0))
                    if len(self._joined) == self._size - 1:
                        self._is_complete.set()
                    return
            self._strangers[f"a connection from {origin} was refused, as {refusal}"] = None
            if magic == _MAGIC:
                reason = refusal.encode()
                connection.sendall(_ANSWER.pack(_MAGIC, len(reason)) + reason)
            connection.close()


def announce(connections: dict[int, socket.socket], port: int) -> None:
    """Tells all processes the port of JAX's service."""
    for connection in connections.values():
        with contextlib.suppress(OSError):  # of a process that has ended; the team says so
            connection.sendall(_PORT.pack(port))


def join_leader(rank: int, size: int, host: str, port: int, seconds: float) -> tuple[socket.socket, int]:
    """Connects with the leader, and waits until all processes have.

    Args:
        rank: number of this process, above 0.
        size: number of processes.
        host: name or address of the leader.
        port: its port.
        seconds: longest wait for the leader, and then for all others.

    Returns:
        The connection, and the port of JAX's service.

    Raises:
        LostProcessError: there is no leader, or another process did not come.
        UsageError: the leader refuses this process.
    """
    place, deadline = f"{host}:{port}", time.monotonic() + seconds
    reasons = ["no answer"]

    def attempt() -> socket.socket | None:
        while time.monotonic() < deadline:
            try:
                connection = _greeted(rank, size, host, port)
            except OSError as error:
                reasons.append(error.strerror or str(error))
                time.sleep(RETRY_SECONDS)
                continue
            if time.monotonic() < deadline:
                return connection
            connection.close()  # nobody waits any longer
        return None

    connection = in_time(attempt, deadline)
    if connection is None:
        raise LostProcessError(
            f"process {rank} of {size} did not reach process 0 at {place} within {seconds:g} s ({reasons[-1]}); "
            f"{_REMEDY}."
        )
    try:
        (jax_port,) = _PORT.unpack(receive(connection, _PORT.size, seconds + HELLO_SECONDS))
    except OSError as error:
        raise LostProcessError(
            f"process 0 at {place} ended before all {size} processes had reached it; start all of them again."
        ) from error
    return connection, jax_port


def _greeted(rank: int, size: int, host: str, port: int) -> socket.socket:
    """Connects with the leader and introduces this process."""
    connection = connect_to(host, port)
    try:
        connection.sendall(_HELLO.pack(_MAGIC, size, rank))
        try:
            magic, length = _ANSWER.unpack(receive(connection, _ANSWER.size, HELLO_SECONDS))
        except TimeoutError:
            raise TimeoutError("what answers there says nothing") from None
        if magic != _MAGIC:
            raise ConnectionError("what answers there is no process 0")
        if length:
            reason = receive(connection, length, HELLO_SECONDS).decode(errors="replace")
            raise UsageError(
                f"process 0 at {host}:{port} refuses process {rank} ({reason}); correct the options."
            )
    except BaseException:
        connection.close()
        raise
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _has_closed(connection: socket.socket) -> bool:
    with contextlib.suppress(OSError):
        return bool(select.select([connection], [], [], 0)[0]) and not connection.recv(1, socket.MSG_PEEK)
    return True
