"""Several processes, on one machine or on many, as one program: their start through `jax.distributed`."""

import contextlib
import os
import socket
import threading
import warnings
from typing import NamedTuple

import jax

from jaxmnist.errors import UsageError
from jaxmnist.runtime.connections import START_SECONDS, connect
from jaxmnist.runtime.streams import keep_from_libraries
from jaxmnist.runtime.team import ALONE, Team


class Launch(NamedTuple):
    """How a process finds the others."""

    coordinator: str
    """Host and port of process 0."""
    num_processes: int
    process_id: int
    gpus: tuple[int, ...] | None = None
    """Those of the machine that this process takes; None for all."""


def launch_of(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    detect: bool = False,
) -> Launch | None:
    """The launch that options ask for; None where they ask for a single process.

    Args:
        coordinator, num_processes, process_id: what is given; it comes before what is detected.
        detect: take what is not given from the environment of SLURM, Open MPI or Kubernetes, as JAX does.

    Raises:
        UsageError: something is missing or impossible.
    """
    values = {"--coordinator": coordinator, "--num-processes": num_processes, "--process-id": process_id}
    gpus = None
    if detect:
        *found, gpus = _detected(coordinator, num_processes, process_id)
        values = dict(zip(values, found, strict=True))
    elif all(value is None for value in values.values()):
        return None
    missing = [name for name, value in values.items() if value is None]
    if missing:
        where = "neither given nor found in the environment" if detect else "missing"
        raise UsageError(
            f"{' and '.join(missing)} {'are' if len(missing) > 1 else 'is'} {where}; give all of "
            "--coordinator HOST:PORT --num-processes N --process-id I, or start with srun or mpirun and --distributed."
        )
    launch = Launch(*values.values(), gpus=gpus)  # pyright: ignore[reportArgumentType]
    host, _, port = launch.coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UsageError(
            f"--coordinator {launch.coordinator} is no address; give host and port of process 0, like node1:4321."
        )
    if not 0 <= launch.process_id < launch.num_processes:
        raise UsageError(
            f"--process-id {launch.process_id} is out of range; of {launch.num_processes} processes it is 0 to "
            f"{launch.num_processes - 1}."
        )
    return launch if launch.num_processes > 1 else None


def _detected(
    coordinator: str | None, num_processes: int | None, process_id: int | None
) -> tuple[str | None, int | None, int | None, tuple[int, ...] | None]:
    # What `jax.distributed.initialize` does by itself; here, so that what is missing can be named.
    from jax._src.clusters import ClusterEnv

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that Kubernetes needs a package: said below, where it matters
            found = ClusterEnv.auto_detect_unset_distributed_params(
                coordinator, num_processes, process_id, None, None, START_SECONDS
            )
    except Exception as error:  # of the Kubernetes client, of many kinds
        reason = str(error).strip().split("\n")[0]
        raise UsageError(
            f"the processes of this job could not be found out ({reason}); give --coordinator HOST:PORT "
            "--num-processes N --process-id I."
        ) from error
    # A launcher that numbers the processes of a machine means one GPU for each.
    return *found[:3], tuple(found[3]) if found[3] else None


def join(launch: Launch | None) -> Team:
    """Starts JAX as one of several processes; call it before anything else uses JAX.

    Raises:
        UsageError: the others do not answer, or the address is taken.
    """
    if launch is None:
        return ALONE
    host, _, port = launch.coordinator.rpartition(":")
    if launch.process_id == 0:
        _require_free(int(port))
    keep_from_libraries()  # Gloo prints its connections
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # Others must be able to end in order when process 0 does not: see `_Relay`.
    address = launch.coordinator if launch.process_id == 0 else _Relay(host.strip("[]"), int(port)).address
    try:
        jax.distributed.initialize(
            address,
            launch.num_processes,
            launch.process_id,
            launch.gpus,
            cluster_detection_method="deactivate",
            initialization_timeout=START_SECONDS,
        )
        return _gather(launch, host.strip("[]"))
    except Exception as error:  # of many kinds
        reason = str(error).strip().split("\n")[0][:200]
        raise UsageError(
            f"process {launch.process_id} of {launch.num_processes} found no way to the others at "
            f"{launch.coordinator} within {START_SECONDS} s ({reason}); start all of them, with the same address."
        ) from error


def _require_free(port: int) -> None:
    # JAX's service would crash.
    both = socket.has_dualstack_ipv6()
    try:
        socket.create_server(
            ("", port), family=socket.AF_INET6 if both else socket.AF_INET, dualstack_ipv6=both
        ).close()
    except OSError as error:
        raise UsageError(
            f"process 0 cannot use port {port} of this machine ({os.strerror(error.errno or 0)}); name another one in "
            "--coordinator, the same for all processes."
        ) from error


def _gather(launch: Launch, host: str) -> Team:
    # The store of JAX's service is not public; it saves a port that would have to be chosen and given.
    from jax._src.distributed import global_state

    store = global_state.client
    assert store is not None
    connections = connect(
        launch.process_id,
        launch.num_processes,
        host,
        store.key_value_set,
        lambda key: store.blocking_key_value_get(key, START_SECONDS * 1000),
    )
    return Team(launch.process_id, launch.num_processes, connections, jax.distributed.shutdown)


class _Relay:
    """Passes on what goes between this process and JAX's service in process 0, and stays when that ends.

    JAX aborts a process, with a dump of its stack, in the moment in which it loses the service. The relay keeps
    the connection, so that the process can end itself with a sentence (`Team`).
    """

    def __init__(self, host: str, port: int) -> None:
        self._far = host, port
        self._server = _server_elsewhere(port)
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            near, _ = self._server.accept()
            try:
                far = socket.create_connection(self._far, timeout=5)
                if (
                    far.getsockname() == far.getpeername()
                ):  # of a free port of this machine TCP makes both ends
                    far.close()
                    raise ConnectionRefusedError
            except OSError:
                near.close()  # process 0 is not there yet: JAX tries again
                continue
            far.settimeout(None)
            threading.Thread(target=_pass_on, args=(near, far, True), daemon=True).start()
            threading.Thread(target=_pass_on, args=(far, near, False), daemon=True).start()


def _server_elsewhere(port: int) -> socket.socket:
    """A server on a port that the system chooses and that is not `port`, which process 0 may be about to use here."""
    server = socket.create_server(("127.0.0.1", 0))
    if server.getsockname()[1] != port:
        return server
    with server:
        return _server_elsewhere(port)


def _pass_on(source: socket.socket, sink: socket.socket, ends: bool) -> None:
    with contextlib.suppress(OSError):
        while content := source.recv(2**16):
            sink.sendall(content)
    if ends:
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
