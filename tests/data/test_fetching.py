"""Downloads from servers that stall, trickle, lie or break off: a sentence in time, and nothing left behind."""

import fcntl
import hashlib
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from jaxmnist.data import DataUnavailableError, fetching, load_dataset, tfds
from jaxmnist.data.checksums import RemoteFile
from jaxmnist.data.fetching import fetch, sweep, working_folder
from jaxmnist.errors import DataError

CONTENT = bytes(range(256)) * 400
FILE = RemoteFile("file.gz", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(CONTENT)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(fetching, "STALL_SECONDS", 1.0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def serve():
    """Starts a server that answers every request by a function of the connection; returns its URL."""
    servers, over = [], threading.Event()

    def start(answer) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def talk(connection):
            with connection:
                try:
                    connection.recv(10_000)
                    answer(connection, over)
                except OSError:
                    pass  # the client has gone

        def accept():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return f"http://127.0.0.1:{server.getsockname()[1]}/"

    yield start
    over.set()
    for server in servers:
        server.close()


def drip(connection, content, over):
    for byte in content:
        connection.sendall(bytes([byte]))
        if over.wait(0.05):
            return


def silent(connection, over):
    over.wait(30)


def silent_after_the_header(connection, over):
    connection.sendall(HEAD)
    over.wait(30)


def silent_in_the_middle(connection, over):
    connection.sendall(HEAD + CONTENT[:60_000])
    over.wait(30)


def trickle(connection, over):
    connection.sendall(HEAD + CONTENT[:60_000])
    drip(connection, CONTENT[60_000:], over)


def trickle_of_blocks(connection, over):
    connection.sendall(HEAD)
    for start in range(0, len(CONTENT), 2**12):
        connection.sendall(CONTENT[start : start + 2**12])
        over.wait(0.4)


def trickle_of_headers(connection, over):
    drip(connection, HEAD[:17] + b"X-Long: " + b"x" * 10_000, over)


def break_off(connection, over):
    connection.sendall(HEAD + CONTENT[:60_000])


def break_off_without_a_length(connection, over):
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + CONTENT[:60_000])


def endless(connection, over):
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while not over.is_set():
        connection.sendall(bytes(2**16))


def endless_headers(connection, over):
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while not over.is_set():
        connection.sendall(b"X: " + b"x" * 1_000 + b"\r\n")


def circle(connection, over):
    connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /file.gz\r\nContent-Length: 0\r\n\r\n")


def a_local_file(connection, over):
    connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n")


def no_http(connection, over):
    connection.sendall(b"\x00\xff" * 1_000)


def unpacks_to_gigabytes(connection, over):
    import gzip

    body = gzip.compress(bytes(10**8))
    connection.sendall(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )


def missing(connection, over):
    connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")


def another(connection, over):
    connection.sendall(HEAD + CONTENT[::-1])


def correct(connection, over):
    connection.sendall(HEAD + CONTENT)


def slow_but_going_on(connection, over):
    connection.sendall(HEAD)
    for start in range(0, len(CONTENT), 2**14):
        connection.sendall(CONTENT[start : start + 2**14])
        over.wait(0.4)


@pytest.mark.parametrize(
    "answer",
    [silent, silent_after_the_header, silent_in_the_middle, trickle, trickle_of_blocks, trickle_of_headers],
)
def test_a_download_that_does_not_go_on_is_given_up(serve, tmp_path, answer):
    began = time.monotonic()
    with pytest.raises(Exception, match=r"did not go on for 1 seconds|timed out"):
        fetch(serve(answer) + FILE.name, FILE, tmp_path)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("answer", [break_off, endless_headers, circle, a_local_file, no_http, missing])
def test_a_server_that_breaks_off_or_talks_nonsense_is_an_error(serve, tmp_path, answer):
    began = time.monotonic()
    with pytest.raises(Exception, match=r".") as caught:
        fetch(serve(answer) + FILE.name, FILE, tmp_path)
    assert not isinstance(caught.value, DataError)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("answer", [another, endless, break_off_without_a_length, unpacks_to_gigabytes])
def test_another_file_is_refused_and_no_more_of_it_is_read_than_the_published_one_has(
    serve, tmp_path, answer
):
    with pytest.raises(DataError, match="is not the published file of 102,400 bytes"):
        fetch(serve(answer) + FILE.name, FILE, tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= len(CONTENT)


@pytest.mark.parametrize("answer", [correct, slow_but_going_on])
def test_a_download_that_goes_on_is_completed_however_long_it_takes(serve, tmp_path, answer):
    assert fetch(serve(answer) + FILE.name, FILE, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("answer", [silent_in_the_middle, trickle, break_off])
def test_a_dataset_from_such_a_server_is_unavailable_and_nothing_is_left(
    serve, tmp_path, monkeypatch, answer
):
    root, temporary = tmp_path / "cache" / "tfds", tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TFDS_DATA_DIR", str(root))
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.delenv("JAXMNIST_DATA_DIR", raising=False)
    with pytest.raises(DataUnavailableError) as caught:
        load_dataset("mnist", base_url=serve(answer))
    assert "could not be downloaded" in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == [temporary]


KILLED = """
import sys, time
from pathlib import Path
from jaxmnist.data.fetching import working_folder
with working_folder(Path(sys.argv[1])) as folder:
    (folder / "file").write_bytes(b"half")
    print("ready", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_uses_is_not(tmp_path):
    parent = tmp_path / "jaxmnist_mnist"
    command = [sys.executable, "-c", KILLED, str(parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        (parent / "incomplete.ABC123_1.0.0").mkdir()  # as TFDS calls what it prepares
        (parent / "1.0.0").mkdir()
        sweep(parent)
        assert len(list(parent.iterdir())) == 3
        process.send_signal(signal.SIGKILL)
    assert len(list(parent.iterdir())) == 3
    sweep(parent)
    assert list(parent.iterdir()) == [parent / "1.0.0"]


def test_two_processes_download_at_the_same_time(tmp_path):
    with working_folder(tmp_path / "a") as first, working_folder(tmp_path / "a") as second:
        assert first != second
        sweep(tmp_path / "a")
        assert first.is_dir()
        assert second.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks_is_not_swept(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    (tmp_path / "jaxmnist-x").mkdir()
    sweep(tmp_path)
    assert (tmp_path / "jaxmnist-x").is_dir()
    with working_folder(tmp_path) as folder:
        assert folder.is_dir()


def test_the_next_download_sweeps_even_if_it_fails(tmp_path):
    leftover = tfds.prepared_folder("mnist", tmp_path).parent / "jaxmnist-x"
    leftover.mkdir(parents=True)
    with pytest.raises(DataUnavailableError):
        tfds.download("mnist", tmp_path, "http://127.0.0.1:1/", lambda line: None)
    assert not leftover.exists()


def test_a_folder_that_was_there_before_stays(tmp_path):
    (tmp_path / "a").mkdir()
    with working_folder(tmp_path / "a" / "b"):
        pass
    assert list(tmp_path.rglob("*")) == [Path(tmp_path / "a")]
