"""TCP connections between the processes of a run and their leader, process 0."""

import contextlib
import os
import socket
import struct

import jax

from jaxmnist.errors import UsageError

START_SECONDS = 300
"""Longest wait for the other processes at the start."""

_KEY = "jaxmnist/leader"
_HELLO = struct.Struct(">16sI")  # the secret of the run, the sender's rank


def connect(rank: int, size: int, host: str) -> dict[int, socket.socket]:
    """Connects every process with the leader; call it once `jax.distributed` has started.

    The leader publishes its port in the key-value store of JAX's coordinator, so that users have to choose one
    port only, and with it a secret, so that no stranger passes for a process of the run.

    Args:
        rank: number of this process; 0 is the leader.
        size: number of processes.
        host: name or address of the leader.

    Returns:
        Connections by rank: of the leader to all others, of any other process to the leader.

    Raises:
        OSError: a process does not connect within `START_SECONDS`.
        UsageError: this version of JAX keeps its store elsewhere.
    """
    try:
        # Not public; the same in JAX 0.10 to 0.12. The public ways to share a value start the devices.
        from jax._src.distributed import global_state

        store = global_state.client
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"JAX {jax.__version__} is too new for training in several processes; install JAX 0.12."
        ) from error
    assert store is not None, "jax.distributed has not started"
    connections: dict[int, socket.socket] = {}
    if rank:
        port, secret = store.blocking_key_value_get(_KEY, START_SECONDS * 1000).split()
        connections[0] = socket.create_connection((host, int(port)), timeout=START_SECONDS)
        connections[0].sendall(_HELLO.pack(bytes.fromhex(secret), rank))
    else:
        secret = os.urandom(16)
        with socket.create_server(("", 0), family=socket.AF_INET) as server:
            server.settimeout(START_SECONDS)
            store.key_value_set(_KEY, f"{server.getsockname()[1]} {secret.hex()}")
            while len(connections) < size - 1:
                connection, _ = server.accept()
                connection.settimeout(START_SECONDS)
                with contextlib.suppress(OSError):
                    given, peer = _HELLO.unpack(receive(connection, _HELLO.size))
                    if given == secret:
                        connections[peer] = connection
    for connection in connections.values():
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connections


def receive(connection: socket.socket, length: int) -> bytes:
    """Receives exactly `length` bytes.

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
