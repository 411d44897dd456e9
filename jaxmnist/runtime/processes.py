"""Several processes as one program: finding each other, and their start through `jax.distributed`."""

import contextlib
import socket
import threading
import warnings
from typing import NamedTuple

import jax

from jaxmnist.errors import UsageError
from jaxmnist.runtime.connections import connect_to, require_reachable
from jaxmnist.runtime.rendezvous import START_SECONDS, Leader, announce, join_leader
from jaxmnist.runtime.streams import drop_library_output
from jaxmnist.runtime.team import ALONE, Team

_JAX_SECONDS = 300


class Launch(NamedTuple):
    """Place of a process among the others."""

    coordinator: str
    """Host and port of process 0."""
    num_processes: int
    process_id: int
    gpus: tuple[int, ...] | None = None
    """Numbers of the machine's GPUs that this process uses; None for all."""


def launch_of(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    detect: bool = False,
) -> Launch | None:
    """Returns the launch that options ask for, or None for a single process.

    Args:
        coordinator: host and port of process 0.
        num_processes: number of processes.
        process_id: number of this process, from 0.
        detect: take missing values from the environment of SLURM, Open MPI or Kubernetes, as JAX does.

    Raises:
        UsageError: a value is missing or impossible.
    """
    gpus = None
    if detect:
        coordinator, num_processes, process_id, gpus = _detected(coordinator, num_processes, process_id)
    elif coordinator is None and num_processes is None and process_id is None:
        return None
    if coordinator is None or num_processes is None or process_id is None:
        values = {"--coordinator": coordinator, "--num-processes": num_processes, "--process-id": process_id}
        missing = [name for name, value in values.items() if value is None]
        reason = "neither given nor found in the environment" if detect else "missing"
        raise UsageError(
            f"{' and '.join(missing)} {'are' if len(missing) > 1 else 'is'} {reason}; give all of "
            "--coordinator HOST:PORT --num-processes N --process-id I, or start with srun or mpirun and --distributed."
        )
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UsageError(
            f"--coordinator {coordinator} is not an address; give host and port of process 0, like node1:4321."
        )
    if not 0 <= process_id < num_processes:
        raise UsageError(
            f"--process-id {process_id} is out of range; of {num_processes} processes it is 0 to {num_processes - 1}."
        )
    return Launch(coordinator, num_processes, process_id, gpus) if num_processes > 1 else None


def _detected(
    coordinator: str | None, num_processes: int | None, process_id: int | None
) -> tuple[str | None, int | None, int | None, tuple[int, ...] | None]:
    try:
        # Not public; the same in JAX 0.10 to 0.12. `jax.distributed.initialize` calls it too, but knows neither the
        # options to name in an error nor `_Relay`, which needs the address.
        from jax._src.clusters import ClusterEnv

        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # Kubernetes needs a package: the error below says so where it matters
            address, count, number, gpus = ClusterEnv.auto_detect_unset_distributed_params(
                coordinator, num_processes, process_id, None, None, int(START_SECONDS)
            )
    except Exception as error:  # of the Kubernetes client, of many kinds; or a JAX without this function
        reason = str(error).strip().split("\n")[0]
        raise UsageError(
            f"the environment does not tell the processes of this job ({reason}); give --coordinator HOST:PORT "
            "--num-processes N --process-id I."
        ) from error
    # A launcher that numbers the processes of a machine means one GPU for each.
    return address, count, number, tuple(gpus) if gpus else None


def join(launch: Launch | None, seconds: float = START_SECONDS) -> Team:
    """Starts JAX as one of several processes; call it before anything else uses JAX.

    Args:
        launch: place of this process.
        seconds: longest wait for the others.

    Raises:
        UsageError: the address is in use, or process 0 expects another number of processes.
        LostProcessError: the others do not come.
    """
    if launch is None:
        return ALONE
    coordinator, num_processes, process_id, gpus = launch
    host, _, port = coordinator.rpartition(":")
    host = host.strip("[]")
    # The processes find each other before JAX starts, which ends with a dump of its stack if one does not come.
    bind_address = None
    if process_id == 0:
        leader = Leader(host, int(port), num_processes)
        peers = leader.wait(seconds)
        jax_port = _free_port(leader.address)
        bind_address = _joined(leader.address, jax_port)
        is_everywhere = leader.address in ("::", "0.0.0.0")
        near = _joined("127.0.0.1", jax_port) if is_everywhere else bind_address
        announce(peers, jax_port)
    else:
        connection, jax_port = join_leader(process_id, num_processes, host, int(port), seconds)
        peers = {0: connection}
        near = _Relay(host, jax_port).address
    # From here on, the end of another process ends this one.
    team = Team(process_id, num_processes, peers, jax.distributed.shutdown)
    if process_id:
        require_reachable(host, jax_port, seconds)
    drop_library_output()  # Gloo prints its connections
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(
        near,
        num_processes,
        process_id,
        gpus,
        cluster_detection_method="deactivate",
        # JAX aborts when it is over; the team knows before what has happened.
        initialization_timeout=_JAX_SECONDS,
        coordinator_bind_address=bind_address,
    )
    return team


def _joined(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _free_port(address: str) -> int:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as server:
        return server.getsockname()[1]


class _Relay:
    """Forwards the traffic between this process and JAX's service in process 0, and outlives that service.

    JAX aborts a process, with a dump of its stack, as soon as it loses the service. The relay keeps the
    connection open, so that the process can end itself with one sentence (`Team`).
    """

    def __init__(self, host: str, port: int) -> None:
        self._far = host, port
        self._server = socket.create_server(("127.0.0.1", 0))
        while self._server.getsockname()[1] == port:  # which process 0 may be about to use on this machine
            self._server.close()
            self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            near, _ = self._server.accept()
            try:
                far = connect_to(*self._far)
            except OSError:
                near.close()  # JAX's service has not started yet: JAX tries again
                continue
            far.settimeout(None)
            threading.Thread(target=_forward, args=(near, far, True), daemon=True).start()
            threading.Thread(target=_forward, args=(far, near, False), daemon=True).start()


def _forward(source: socket.socket, sink: socket.socket, ends: bool) -> None:
    with contextlib.suppress(OSError):
        while content := source.recv(2**16):
            sink.sendall(content)
    if ends:
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
