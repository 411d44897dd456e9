"""Several processes: launch, agreement, and a common end."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import pytest

from jaxmnist.errors import CheckpointError, InterruptedRunError, UsageError
from jaxmnist.runtime import processes as joining
from jaxmnist.runtime.connections import connect
from jaxmnist.runtime.processes import Launch, join, launch_of
from jaxmnist.runtime.team import ALONE, Team
from tests.torture import processes, states

ROOT = Path(__file__).parents[2]

MANAGED = re.compile(r"SLURM_|OMPI_|KUBERNETES_|JAX_COORDINATOR|JOB_COMPLETION_INDEX")


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch):
    for name in list(os.environ):
        if MANAGED.match(name):
            monkeypatch.delenv(name)


def test_without_options_there_is_one_process():
    assert launch_of() is None
    assert launch_of("node1:4321", 1, 0) is None


def test_options_give_the_launch():
    assert launch_of("node1:4321", 4, 2) == Launch("node1:4321", 4, 2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("node1:4321", None, None), "--num-processes and --process-id are missing"),
        ((None, 2, 1), "--coordinator is missing"),
        (("node1", 2, 0), "--coordinator node1 is not an address"),
        (("node1:0", 2, 0), "is not an address"),
        (("node1:4321", 2, 2), "--process-id 2 is out of range; of 2 processes it is 0 to 1"),
    ],
)
def test_incomplete_or_impossible_options_are_refused(values, message):
    with pytest.raises(UsageError, match=message):
        launch_of(*values)


SLURM = {
    "SLURM_JOB_ID": "4100",
    "SLURM_STEP_NODELIST": "gpu[07-08,11]",
    "SLURM_NTASKS": "6",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NUM_NODES": "3",
}
OPEN_MPI = {
    "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
}


def test_slurm_gives_node_port_and_ranks(monkeypatch):
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    # JAX derives the port from the job, so that two jobs on a node do not collide: 61440 + 4100 mod 4096.
    assert launch_of(detect=True) == Launch("gpu07:61444", 6, 5, gpus=(1,))


def test_open_mpi_gives_address_and_ranks(monkeypatch):
    for name, value in OPEN_MPI.items():
        monkeypatch.setenv(name, value)
    assert launch_of(detect=True) == Launch("10.96.0.1:62624", 4, 3, gpus=(1,))


def test_a_kubernetes_job_gives_its_first_pod_and_ranks(monkeypatch):
    from jax._src.clusters.k8s_cluster import K8sCluster

    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "2")
    monkeypatch.setitem(sys.modules, "kubernetes", fake_kubernetes())
    thing = types.SimpleNamespace
    job = thing(metadata=thing(name="train", labels={}), spec=thing(parallelism=4, completion_mode="Indexed"))
    pod = thing(metadata=thing(name="train-2-abcde"), spec=thing(subdomain="workers"))
    for name, value in (("_job", job), ("_pod", pod), ("_controller", thing(kind="Job"))):
        monkeypatch.setattr(K8sCluster, name, staticmethod(lambda value=value: value))
    monkeypatch.setattr(socket, "gethostbyname", lambda host: "10.1.2.3")
    assert launch_of(detect=True) == Launch("train-0.workers:55527", 4, 2)


def fake_kubernetes():
    client = types.SimpleNamespace(
        CoreV1Api=object, BatchV1Api=object, exceptions=types.SimpleNamespace(ApiException=OSError)
    )
    config = types.SimpleNamespace(load_incluster_config=lambda: None)
    module = types.ModuleType("kubernetes")
    vars(module).update(client=client, config=config)
    return module


def test_options_come_before_detected_values(monkeypatch):
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    assert launch_of("10.0.0.7:1234", detect=True) == Launch("10.0.0.7:1234", 6, 5, gpus=(1,))


def test_a_taken_port_is_named_before_jax_crashes_on_it():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"process 0 cannot use port {port} .* name another one"):
            join(Launch(f"127.0.0.1:{port}", 2, 0))


def test_a_relay_leaves_the_port_of_process_0_free(monkeypatch):
    create_server = socket.create_server
    first = create_server(("127.0.0.1", 0))
    port = first.getsockname()[1]
    offered = [first]
    monkeypatch.setattr(
        socket, "create_server", lambda address: offered.pop() if offered else create_server(address)
    )
    relay = joining._Relay("127.0.0.1", port)
    assert offered == []
    assert relay.address != f"127.0.0.1:{port}"
    assert first.fileno() == -1, "the port is still taken"


def test_a_relay_connected_with_itself_has_not_reached_process_0(monkeypatch):
    both = socket.socket()
    both.bind(("127.0.0.1", 0))
    both.connect(both.getsockname())
    monkeypatch.setattr(joining.socket, "create_connection", lambda address, timeout: both)
    relay = joining._Relay("127.0.0.1", 1)
    with socket.socket() as client:
        client.settimeout(10)
        client.connect(("127.0.0.1", int(relay.address.rpartition(":")[2])))
        assert client.recv(1) == b""


def test_a_missing_cluster_is_an_error_that_names_the_options():
    with pytest.raises(
        UsageError, match=r"neither given nor found in the environment; .* --coordinator HOST:PORT"
    ):
        launch_of(detect=True)


def test_a_jax_without_its_private_names_is_an_error_with_a_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax._src.clusters", None)
    with pytest.raises(UsageError, match=r"jax\._src\.clusters.*; give --coordinator HOST:PORT"):
        launch_of(detect=True)
    monkeypatch.setitem(sys.modules, "jax._src.distributed", None)
    with pytest.raises(UsageError, match=r"too new for training in several processes; install JAX 0\.12"):
        connect(0, 2, "127.0.0.1")


@pytest.fixture
def team():
    """A leader and two followers in threads of this process, and the list of those that have left."""
    pairs = [socket.socketpair() for _ in range(2)]
    left = []
    leader = Team(0, 3, {1: pairs[0][0], 2: pairs[1][0]}, lambda: left.append(0))
    others = [Team(rank, 3, {0: pairs[rank - 1][1]}, lambda rank=rank: left.append(rank)) for rank in (1, 2)]
    return [leader, *others], left


def everywhere(team, function):
    """Calls a function in all processes at once and returns its results."""
    results = {}

    def call(process):
        try:
            results[process.rank] = function(process)
        except Exception as error:
            results[process.rank] = error

    threads = [threading.Thread(target=call, args=(process,)) for process in team]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    return [results[process.rank] for process in team]


def test_all_take_the_leader_s_value(team):
    processes, _ = team
    assert everywhere(processes, lambda process: process.agree([process.rank, "x"])) == [[0, "x"]] * 3
    large = bytes(range(256)) * 40_000
    assert (
        everywhere(processes, lambda process: process.share(large if process.is_leader else b""))
        == [large] * 3
    )


def test_a_barrier_tells_all_processes_which_of_them_differ(team):
    processes, _ = team
    assert everywhere(processes, lambda process: process.barrier(b"same")) == [[]] * 3
    assert everywhere(processes, lambda process: process.barrier(b"%d" % (process.rank // 2))) == [[2]] * 3


def test_processes_started_with_other_options_are_told_which_differ(team):
    processes, _ = team
    same = {"--epochs": "2", "seed": "1"}
    assert everywhere(processes, lambda process: process.require_same(same)) == [None] * 3
    given = [same, same | {"seed": "7"}, {"--epochs": "3"}]
    errors = everywhere(processes, lambda process: process.require_same(given[process.rank]))
    assert {str(error) for error in errors} == {
        "the processes were started with different options: seed is 7 in process 1 and 1 in process 0; --epochs is 3 "
        "in process 2 and 2 in process 0; seed is missing in process 2 and 1 in process 0; start all with the same."
    }
    assert all(isinstance(error, UsageError) for error in errors)


def test_a_signal_to_one_process_reaches_all_within_two_calls(team):
    processes, _ = team

    def ask(process):
        own = signal.SIGTERM if process.rank == 2 else None
        first = process.agree_on_signal(own)
        time.sleep(0.1)
        return first or process.agree_on_signal(own)

    assert everywhere(processes, ask) == [signal.SIGTERM] * 3


def test_all_end_together_and_an_interruption_is_such_an_end(team):
    processes, left = team

    def interrupted(process):
        with process.together():
            raise InterruptedRunError(signal.SIGINT, Path("run"))

    assert [type(error) for error in everywhere(processes, interrupted)] == [InterruptedRunError] * 3
    assert sorted(left) == [0, 1, 2]


def test_a_single_process_agrees_with_itself_at_once():
    with ALONE.together(), ALONE.writing():
        assert ALONE.is_leader
        assert (ALONE.agree(3), ALONE.agree_on_signal(None), ALONE.agree_on_signal(2)) == (3, None, 2)
    with pytest.raises(CheckpointError), ALONE.together():
        raise CheckpointError("as it is")


FOLLOWER = """
import socket, sys, time
from jaxmnist.runtime import team
team.SILENCE_SECONDS = 2.0
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
follower = team.Team(1, 2, {0: connection}, lambda: None)
follower.remedy = "start again"
connection.sendall(b"ready")
time.sleep(60)
"""


def end_of_a_follower(action):
    """Exit code and message of a follower after `action` on its connection, and the seconds until its end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, "-c", FOLLOWER, str(server.getsockname()[1])]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        connection, _ = server.accept()
    with connection:
        received = b""
        while b"ready" not in received:  # among its pings
            part = connection.recv(100)
            assert part, "it ended before it was ready"
            received += part
        began = time.monotonic()
        action(connection)
        _, errors = process.communicate(timeout=60)
    return process.returncode, errors, time.monotonic() - began


def test_a_follower_that_loses_the_leader_ends_at_once_with_one_sentence():
    code, errors, seconds = end_of_a_follower(lambda connection: connection.close())
    assert (code, errors) == (7, "error: process 0 ended; start again.\n")
    assert seconds < 2.0


def test_a_silent_leader_counts_as_ended():
    code, errors, _ = end_of_a_follower(lambda connection: None)
    assert (code, errors) == (7, "error: process 0 has been silent for 2 s; start again.\n")


def test_the_error_of_another_process_is_repeated_with_its_exit_code():
    reason = json.dumps([0, 4, "the checkpoint is damaged."]).encode()
    message = b"L" + len(reason).to_bytes(4, "big") + reason
    code, errors, _ = end_of_a_follower(lambda connection: connection.sendall(message))
    assert (code, errors) == (4, "error: process 0 ended: the checkpoint is damaged.\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (("--seed", "7"), "--seed is 7 in process 1 and None in process 0"),
        (("--config", "FILE"), "recipe.momentum is 0.7 in process 1 and 0.9 in process 0"),
    ],
)
def test_processes_started_with_other_options_end_with_code_2_and_leave_no_run(tmp_path, other, difference):
    (tmp_path / "other.json").write_text('{"recipe": {"momentum": 0.7}}')
    other = [str(tmp_path / "other.json") if word == "FILE" else word for word in other]
    options = [*processes.NEW, "--runs", tmp_path / "runs"]
    members = processes.start(tmp_path, 2, *options, of_the_last=other)
    assert [member.wait(timeout=300) for member in members] == [2, 2]
    for rank in (0, 1):
        (line,) = processes.error_lines(tmp_path, rank)
        assert difference in line
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.battery)])
def test_a_run_trained_in_several_processes_resumes_in_another_number(tmp_path, count):
    run = processes.train(tmp_path / "several", count)
    assert processes.error_lines(tmp_path / "several") == []
    assert all(not (tmp_path / "several" / f"{rank}.out").read_text() for rank in range(1, count))
    states.read(run)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == list(range(1, processes.EPOCHS + 1))
