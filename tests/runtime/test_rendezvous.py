"""The start of several processes: strangers, wrong addresses and wrong numbers are named in time."""

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from jaxmnist.errors import LostProcessError, UsageError
from jaxmnist.runtime import connections, rendezvous
from jaxmnist.runtime.connections import listen
from jaxmnist.runtime.rendezvous import Leader, announce, join_leader

ROOT = Path(__file__).parents[2]
LOCAL = "127.0.0.1"


@pytest.fixture(autouse=True)
def closed_sockets(monkeypatch):
    """Closes all sockets of a test at its end, as the end of a process does."""
    made, init = [], socket.socket.__init__

    def noting(self, *arguments, **options):
        made.append(self)
        init(self, *arguments, **options)

    monkeypatch.setattr(socket.socket, "__init__", noting)
    yield
    for one in made:
        one.close()


def free_port():
    with socket.create_server((LOCAL, 0)) as server:
        return server.getsockname()[1]


def in_threads(*functions):
    """Calls functions at once; returns their results or errors."""
    results: list[Any] = [None] * len(functions)

    def call(index, function):
        try:
            results[index] = function()
        except Exception as error:
            results[index] = error

    threads = [threading.Thread(target=call, args=pair, daemon=True) for pair in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive(), "it waits"
    return results


def lead(leader, seconds=10.0):
    def wait():
        found = leader.wait(seconds)
        announce(found, 4321)
        return found

    return wait


def test_all_find_the_leader_and_get_the_port_of_jax():
    port = free_port()
    leader = Leader(LOCAL, port, 3)
    assert leader.address == LOCAL
    found, *joined = in_threads(
        lead(leader), *(lambda rank=rank: join_leader(rank, 3, LOCAL, port, 10.0) for rank in (1, 2))
    )
    assert sorted(found) == [1, 2]
    for rank, (connection, jax_port) in enumerate(joined, start=1):
        assert jax_port == 4321
        assert connection.getpeername() == found[rank].getsockname()


def test_processes_may_start_in_any_order():
    port = free_port()

    def late():
        time.sleep(1)
        return lead(Leader(LOCAL, port, 2))()

    found, (_, jax_port) = in_threads(late, lambda: join_leader(1, 2, LOCAL, port, 10.0))
    assert list(found) == [1]
    assert jax_port == 4321


def test_silent_and_talkative_strangers_delay_nobody():
    port = free_port()
    leader = Leader(LOCAL, port, 2)
    strangers = [socket.create_connection((LOCAL, port)) for _ in range(20)]
    for stranger in strangers[::2]:
        stranger.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
    began = time.monotonic()
    found, _ = in_threads(lead(leader), lambda: join_leader(1, 2, LOCAL, port, 10.0))
    assert list(found) == [1]
    assert time.monotonic() - began < 3
    for stranger in strangers:
        stranger.close()


def test_a_process_that_does_not_come_is_named():
    leader = Leader(LOCAL, free_port(), 4)
    (error,) = in_threads(lead(leader, 0.5))
    assert isinstance(error, LostProcessError)
    assert error.exit_code == 7
    assert str(error).startswith(
        "processes 1, 2, 3 of 4 did not reach process 0 within 0.5 s; start all of them"
    )


@pytest.mark.parametrize(
    ("rank", "size", "reason"),
    [
        (1, 3, "it expects 3 processes and process 0 expects 2"),
        (5, 2, "there is no process 5 to join process 0"),
        (0, 2, "there is no process 0 to join process 0"),
    ],
)
def test_a_process_with_other_numbers_is_refused_and_the_leader_says_so(rank, size, reason):
    port = free_port()
    leader = Leader(LOCAL, port, 2)
    leads, joins = in_threads(lead(leader, 2.0), lambda: join_leader(rank, size, LOCAL, port, 10.0))
    assert isinstance(joins, UsageError)
    assert reason in str(joins)
    assert isinstance(leads, LostProcessError)
    assert reason in str(leads)


def test_the_second_process_of_a_number_is_refused_unless_the_first_has_ended():
    port = free_port()
    leader = Leader(LOCAL, port, 3)
    threading.Thread(target=leader._accept, daemon=True).start()
    first = rendezvous._greeted(1, 3, LOCAL, port)
    with pytest.raises(UsageError, match="there is another process 1"):
        join_leader(1, 3, LOCAL, port, 5.0)
    first.close()
    again, other, found = in_threads(
        lambda: join_leader(1, 3, LOCAL, port, 5.0),
        lambda: join_leader(2, 3, LOCAL, port, 5.0),
        lead(leader, 5.0),
    )
    assert (again[1], other[1]) == (4321, 4321)
    assert sorted(found) == [1, 2]


@pytest.mark.parametrize("words", [b"", b"SSH-2.0-OpenSSH_9.6\r\n" * 5, None])
def test_what_is_no_leader_is_given_up_in_time(monkeypatch, words):
    monkeypatch.setattr(rendezvous, "HELLO_SECONDS", 0.3)
    with socket.create_server((LOCAL, 0)) as server:
        held = []

        def talk():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                if words is None:
                    held.append(connection)  # silence
                    continue
                connection.sendall(words)
                connection.close()

        threading.Thread(target=talk, daemon=True).start()
        port = server.getsockname()[1]
        began = time.monotonic()
        with pytest.raises(
            LostProcessError, match=r"process 1 of 2 did not reach process 0 at .* within 1 s \("
        ) as error:
            join_leader(1, 2, LOCAL, port, 1.0)
        assert time.monotonic() - began < 2
        assert "--timeout" in str(error.value)


def test_an_unreachable_address_and_a_name_lookup_that_hangs_are_given_up_in_time(monkeypatch):
    began = time.monotonic()
    with pytest.raises(LostProcessError, match="Connection refused"):
        join_leader(1, 2, LOCAL, free_port(), 0.5)
    with pytest.raises(LostProcessError, match=r"within 0\.5 s"):
        join_leader(1, 2, "nowhere.invalid", 4321, 0.5)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: time.sleep(5))
    with pytest.raises(LostProcessError, match="no answer"):
        join_leader(1, 2, "slow.invalid", 4321, 0.5)
    assert time.monotonic() - began < 4


def test_a_leader_that_ends_before_all_have_come_is_named():
    port = free_port()
    leader = Leader(LOCAL, port, 3)

    def wait_and_end():
        try:
            leader.wait(1.0)
        finally:
            for connection in leader._joined.values():
                connection.close()

    _, error = in_threads(wait_and_end, lambda: join_leader(1, 3, LOCAL, port, 10.0))
    assert isinstance(error, LostProcessError)
    assert "ended before all 3 processes had reached it" in str(error)


def test_nothing_listens_on_all_interfaces_unless_other_machines_may_need_it(monkeypatch):
    for host, expected in (
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "127.0.0.1"),
        ("127.0.0.2", "127.0.0.2"),
    ):
        with listen(host, 0) as server:
            assert server.getsockname()[0] == expected
    # The machine's own name may stand for a loopback address here and for another one elsewhere.
    for place in (
        [(socket.AF_INET, 1, 6, "", ("127.0.1.1", 0))],
        [(socket.AF_INET, 1, 6, "", ("192.0.2.1", 0))],
        [],
    ):
        monkeypatch.setattr(connections.socket, "getaddrinfo", lambda *_args, place=place, **_kwargs: place)
        with listen("node1", 0) as server:
            assert server.getsockname()[0] in ("::", "0.0.0.0")


@pytest.mark.parametrize("arguments", [("--coordinator", "127.0.0.1:9"), ("--timeout", "0")])
def test_the_command_says_it_in_one_sentence(tmp_path, arguments):
    code = "import sys; from jaxmnist.cli.main import main; main()"
    several = ("--num-processes", "2", "--process-id", "1", "--timeout", "1", "--coordinator", "127.0.0.1:9")
    command = [
        sys.executable,
        "-c",
        code,
        "train",
        "--dataset",
        "digits",
        "--runs",
        str(tmp_path),
        *several,
        *arguments,
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, env=dict(os.environ))
    assert done.returncode == (7 if arguments[0] == "--coordinator" else 2)
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
