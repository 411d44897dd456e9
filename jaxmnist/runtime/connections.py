"""How the processes of a run come to be connected with their leader."""

import contextlib
import os
import socket
import struct
from collections.abc import Callable

START_SECONDS = 300
"""So long the processes wait for each other at the start."""


def connect(
    rank: int,
    size: int,
    host: str,
    publish: Callable[[str, str], None],
    look_up: Callable[[str], str],
) -> list[socket.socket]:
    """Connections of the leader to all others, in their order, or of another process to the leader.

    Args:
        rank: number of this process.
        size: how many there are.
        host: name or address under which the leader can be reached.
        publish, look_up: of a store that all processes share; the second waits for what is to come.

    Raises:
        OSError: one of them does not come.
    """
    if rank:
        port, secret = look_up(_ADDRESS).split()
        connection = socket.create_connection((host, int(port)), timeout=START_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(bytes.fromhex(secret) + struct.pack(">I", rank))
        return [connection]
    secret = os.urandom(16)
    with socket.create_server(("", 0), family=socket.AF_INET) as server:
        server.settimeout(START_SECONDS)
        publish(_ADDRESS, f"{server.getsockname()[1]} {secret.hex()}")
        connections: dict[int, socket.socket] = {}
        while len(connections) < size - 1:
            connection, _ = server.accept()
            connection.settimeout(START_SECONDS)
            with contextlib.suppress(OSError):
                hello = receive(connection, len(secret) + 4)
                if hello[: len(secret)] == secret:
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    connections[struct.unpack(">I", hello[len(secret) :])[0]] = connection
    return [connections[peer] for peer in range(1, size)]


_ADDRESS = "jaxmnist/leader"


def receive(connection: socket.socket, length: int) -> bytes:
    """So many bytes.

    Raises:
        OSError: the connection ended, or was silent for its timeout.
    """
    content = b""
    while len(content) < length:
        part = connection.recv(length - len(content))
        if not part:
            raise ConnectionError
        content += part
    return content
