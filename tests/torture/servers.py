"""Servers that stall, trickle, lie or never end: a download ends with a sentence and leaves nothing behind."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from jaxmnist.data import load_dataset
from jaxmnist.errors import DataError
from tests.torture import reading
from tests.torture.battery import Attack, Trial
from tests.torture.inputs import PAGE, data_files
from tests.torture.memory import bounded

SECONDS = 120.0
"""Time in which a download from a bad server must have ended: limits without progress, and attempts."""

Serve = Callable[[socket.socket, bytes, threading.Event], None]
"""Answers a request for a file with this content on a connection, until it is done or the event is set."""


def bad_servers(trials: int, folder: Path, random: np.random.Generator) -> Iterator[Trial]:
    """Downloads MNIST from a server that answers each request badly, or all but some of them well."""
    names = list(_ANSWERS)
    files = data_files()
    for trial in range(trials):

        def download(trial: int = trial) -> None:
            name, good = names[trial % len(names)], int(random.integers(0, 4)) * (trial // len(names) % 2)
            place = folder / f"{trial}"
            (place / "tmp").mkdir(parents=True)
            settings = {
                "JAXMNIST_DATA_DIR": "",
                "TFDS_DATA_DIR": str(place / "cache"),
                "no_proxy": "127.0.0.1",
            }
            settings["TMPDIR"] = str(place / "tmp")
            with (
                _server(files, _ANSWERS[name], good) as address,
                mock.patch.dict(os.environ, settings),
                mock.patch("tempfile.tempdir", None),
                bounded(reading.MOST_MEMORY),
                reading.within(SECONDS),
            ):
                try:
                    load_dataset("mnist", base_url=address, announce=lambda _: None)
                except DataError as error:
                    said = str(error)
                else:
                    raise AssertionError(f"{name}: the download was accepted")
            reading.assert_sentence(said)
            assert address in said, f"{name}: the server is not named in {said}"
            left = [path for path in place.rglob("*") if path.is_file()]
            left += list((place / "tmp").iterdir())
            assert not left, f"{name}: {', '.join(map(str, left))} is left"

        yield download


def _send(connection: socket.socket, *lines: str, content: bytes = b"") -> None:
    head = "".join(f"{line}\r\n" for line in ("HTTP/1.1 200 OK", *lines, ""))
    connection.sendall(head.encode() + content)


def _stall(head: bool, share: float) -> Serve:
    def serve(connection: socket.socket, content: bytes, over: threading.Event) -> None:
        if head:
            _send(connection, f"Content-Length: {len(content)}", content=content[: int(share * len(content))])
        over.wait()

    return serve


def _trickle(head: bool) -> Serve:
    def serve(connection: socket.socket, content: bytes, over: threading.Event) -> None:
        if head:
            _send(connection, f"Content-Length: {len(content)}")
        else:
            content = b"HTTP/1.1 200 OK\r\n" + b"X-Filler: 1\r\n" * 10_000
        for byte in content:
            if over.wait(1.0):
                return
            connection.sendall(bytes([byte]))

    return serve


def _answer(*lines: str, change: Callable[[bytes], bytes] = lambda content: content) -> Serve:
    def serve(connection: socket.socket, content: bytes, _: threading.Event) -> None:
        _send(connection, *lines, content=change(content))

    return serve


def _endless(connection: socket.socket, _: bytes, over: threading.Event) -> None:
    _send(connection)
    while not over.is_set():
        connection.sendall(bytes(2**16))


def _endless_head(connection: socket.socket, _: bytes, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while not over.is_set():
        connection.sendall(b"X-Filler: 1\r\n" * 1_000)


def _circle(connection: socket.socket, _: bytes, __: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: again.gz\r\nContent-Length: 0\r\n\r\n")


_ANSWERS: Mapping[str, Serve] = {
    "silent": _stall(False, 0),
    "silent after the head": _stall(True, 0),
    "silent in the body": _stall(True, 0.5),
    "a byte a second": _trickle(True),
    "a byte of the head a second": _trickle(False),
    "an endless body": _endless,
    "an endless head": _endless_head,
    "redirected in a circle": _circle,
    "closed at once": lambda connection, _, __: connection.close(),
    "closed in the body": _answer("Content-Length: 99999999"),
    "no HTTP": lambda connection, _, __: connection.sendall(b"\x16\x03\x01" * 100),
    "a length too small": _answer("Content-Length: 99"),
    "a length that is no number": _answer(
        "Content-Length: \x1b[31m", change=lambda content: content[:-1] + b"?"
    ),
    "another content": _answer(change=lambda content: content[:-9] + bytes(9)),
    "a web page": _answer(change=lambda _: PAGE),
}


@contextlib.contextmanager
def _server(files: Mapping[str, bytes], serve: Serve, good: int) -> Iterator[str]:
    """Context manager for a server that answers so, after some good answers; yields its address."""
    over, lock, counted = threading.Event(), threading.Lock(), [0]

    def handle(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(60)
            request = connection.recv(2**16).decode(errors="replace")
            content = files.get(request.split(" ")[1].rpartition("/")[2] if " " in request else "", PAGE)
            with lock:
                counted[0] += 1
                is_good = counted[0] <= good
            if is_good:
                _send(connection, f"Content-Length: {len(content)}", "Connection: close", content=content)
            else:
                serve(connection, content, over)

    def accept(server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection: Any = server.accept()[0]
                threading.Thread(target=handle, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, args=(server,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        finally:
            over.set()
            time.sleep(0.05)


ATTACKS = (Attack("bad-servers", 30, 0, bad_servers),)
