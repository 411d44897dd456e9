"""TCP connections between the processes of a run, each made or given up within a time."""

import contextlib
import ipaddress
import queue
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import NoReturn, TypeVar

from jaxmnist.errors import LostProcessError

HELLO_SECONDS = 5.0
"""Longest wait for a word of who has connected, or was connected with."""

RETRY_SECONDS = 0.2
"""Time between two attempts to connect."""

T = TypeVar("T")


def listen(host: str, port: int) -> socket.socket:
    """Listens at the one address of this machine that a name stands for; at all of them if that is not certain."""
    found = in_time(partial(_addresses, host), time.monotonic() + HELLO_SECONDS) or set()
    if len(found) == 1:
        ((family, address),) = found
        # Another name of the loopback address, as the machine's own often is, stands for another address elsewhere.
        is_elsewhere = ipaddress.ip_address(address).is_loopback and host not in ("localhost", address)
        if not is_elsewhere and _is_of_this_machine(family, address):
            return socket.create_server((address, port), family=family)
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    return socket.create_server(("", port), family=family, dualstack_ipv6=both)


def _addresses(host: str) -> set[tuple[socket.AddressFamily, str]]:
    if host == "localhost":  # which may stand for two
        return {(socket.AF_INET, "127.0.0.1")}
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:  # process 0 need not know itself by that name
        return set()
    return {(family, str(place[0])) for family, _, _, _, place in found}


def _is_of_this_machine(family: socket.AddressFamily, address: str) -> bool:
    try:
        socket.create_server((address, 0), family=family).close()
    except OSError:
        return False
    return True


def connect_to(host: str, port: int) -> socket.socket:
    """Connects with a port, within seconds.

    Raises:
        OSError: nothing answers there.
    """
    connection = socket.create_connection((host, port), timeout=HELLO_SECONDS)
    # Of a free port of this machine, TCP can make both ends of a connection.
    if connection.getsockname() == connection.getpeername():
        connection.close()
        raise ConnectionRefusedError
    return connection


def receive(connection: socket.socket, length: int, seconds: float | None = None) -> bytes:
    """Receives exactly `length` bytes.

    Args:
        connection: the connection.
        length: number of bytes.
        seconds: longest wait for all of them; by default the connection's timeout for each part.

    Raises:
        OSError: the connection ended, or was silent for its timeout.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    content = b""
    while len(content) < length:
        if deadline is not None:
            connection.settimeout(max(0.001, deadline - time.monotonic()))
        part = connection.recv(length - len(content))
        if not part:
            raise ConnectionError("the connection was closed")
        content += part
    return content


def require_reachable(host: str, port: int, seconds: float) -> None:
    """Checks that JAX's service, which is about to start, can be reached.

    Raises:
        LostProcessError: it cannot be reached in time.
    """
    deadline = time.monotonic() + seconds

    def attempt() -> bool:
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                connect_to(host, port).close()
                return True
            time.sleep(RETRY_SECONDS)
        return False

    if not in_time(attempt, deadline):
        raise LostProcessError(
            f"port {port} of {host}, which JAX chose there, cannot be reached within {seconds:g} s; open the ports "
            "between the machines."
        )


def in_time(function: Callable[[], T], deadline: float) -> T | None:
    """Returns what a function returns, or None at the deadline: nothing can interrupt a name lookup."""
    results: queue.SimpleQueue[Callable[[], T]] = queue.SimpleQueue()

    def call() -> None:
        try:
            result = function()
            results.put(lambda: result)
        except Exception as error:  # raised by the waiting thread
            results.put(partial(_raise, error))

    threading.Thread(target=call, daemon=True).start()
    try:
        outcome = results.get(timeout=max(0.0, deadline - time.monotonic()))
    except queue.Empty:
        return None
    return outcome()


def _raise(error: Exception) -> NoReturn:
    raise error
