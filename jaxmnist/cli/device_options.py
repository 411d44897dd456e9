"""Options of the commands that can train on several devices and in several processes."""

import dataclasses
from typing import TYPE_CHECKING, Annotated

import tyro

from jaxmnist.cli.options import OptionalFloat, OptionalInt
from jaxmnist.cli.train_options import TrainingCommand
from jaxmnist.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from jaxmnist.config.run import RunConfig
    from jaxmnist.runtime.mesh import MeshShape, Where
    from jaxmnist.runtime.team import Team

Mesh = Annotated[str | None, tyro.conf.arg(metavar="seed=N,data=N", help_behavior_hint="")]
Address = Annotated[str | None, tyro.conf.arg(metavar="HOST:PORT", help_behavior_hint="")]

DEVICE_OPTIONS = ("devices", "mesh", "coordinator", "num_processes", "process_id", "distributed", "timeout")
"""Options below, which may change each time that a run is resumed."""

# The content of a configuration file counts, not its place.
_OWN_TO_A_PROCESS = {
    "process_id",
    "coordinator",
    "timeout",
    "data_dir",
    "config",
    "no_compile_cache",
    "json",
    "debug",
}


@dataclasses.dataclass(frozen=True)
class MultiDeviceCommand(TrainingCommand):
    """Options of the commands that can train on several devices and in several processes."""

    devices: OptionalInt = None
    """Divide every batch among this many devices, counted over all processes. By default, on a CPU, one for each core
    that gets 16 images or more."""
    mesh: Mesh = None
    """Use a grid of devices: batches are divided along data, the seeds of a study along seed."""
    coordinator: Address = None
    """Train in several processes, on one machine or many: the address of process 0, the same for all."""
    num_processes: OptionalInt = None
    """Number of processes."""
    process_id: OptionalInt = None
    """Index of this process, from 0."""
    distributed: bool = False
    """Take --coordinator, --num-processes and --process-id, unless given, from SLURM, Open MPI or Kubernetes."""
    timeout: OptionalFloat = None
    """Longest wait for the other processes at the start, in seconds; 30 by default."""

    def join(self) -> "Team":
        """Starts JAX as one of the processes that train together."""
        from jaxmnist.runtime.processes import join, launch_of
        from jaxmnist.runtime.rendezvous import START_SECONDS

        self._shape(1)  # wrong options end this process before others wait for it
        seconds = START_SECONDS if self.timeout is None else self.timeout
        if not 0 < seconds <= 86_400:
            raise UsageError(
                f"--timeout {seconds:g} is out of range; choose seconds above 0 and up to a day, 86,400."
            )
        return join(
            launch_of(self.coordinator, self.num_processes, self.process_id, self.distributed), seconds
        )

    def require_same_options(self, team: "Team") -> None:
        """Checks that all processes were started with the same options, except those that are a machine's own.

        Raises:
            UsageError: they were not.
        """
        names = (field.name for field in dataclasses.fields(self) if field.name not in _OWN_TO_A_PROCESS)
        team.require_same({f"--{name.replace('_', '-')}": str(getattr(self, name)) for name in names})

    def start_on(
        self, team: "Team", console: "Console", config: "RunConfig | None" = None, run: "Path | None" = None
    ) -> "Where":
        """Selects the device or the mesh of the options; by default several processes use all their devices.

        Args:
            team: the processes that train together.
            console: gets a line if devices share cores.
            config: configuration of the run that decides the default on a CPU; None for one device.
            run: folder of the run, if it is resumed.

        Raises:
            UsageError: there are fewer devices, or they cannot be divided among the processes.
        """
        import jax

        from jaxmnist.runs.devices import devices_of_run, training_devices
        from jaxmnist.runtime.devices import count_cores, set_cpu_devices
        from jaxmnist.runtime.mesh import MeshShape, select_mesh

        team.barrier()  # some may have to download their data first
        shape = self._shape(team.size)
        if shape is not None or team.size > 1:  # processes of one machine share its cores
            set_cpu_devices(1 if shape is None else max(1, shape.devices // team.size))
        device = self.start()
        if shape is None and team.size == 1:
            if config is None:
                return device
            return training_devices(config, device) if run is None else devices_of_run(run, config, device)
        devices = jax.devices(device.platform)
        shape = shape or MeshShape(data=len(devices))
        if shape.devices == 1:
            return device
        mesh = select_mesh(devices, shape, team.size)
        if device.platform == "cpu" and shape.devices // team.size > count_cores():
            line = f"{shape.devices // team.size} devices share {count_cores()} cores, which gains no time."
            console.print(line, highlight=False)
        return mesh

    def _shape(self, processes: int) -> "MeshShape | None":
        """Returns the shape of the mesh that the options set, None if they set none."""
        from jaxmnist.runtime.mesh import MeshShape, parse_mesh

        if self.devices is not None and self.mesh is not None:
            raise UsageError("--devices and --mesh both set the number of devices; give one of them.")
        if self.devices is not None and self.devices < 1:
            raise UsageError(f"--devices {self.devices} is out of range; choose a number above 0.")
        shape = MeshShape(data=self.devices) if self.devices else None
        if self.mesh is not None:
            shape = parse_mesh(self.mesh)
        if shape is not None and shape.devices % processes:
            raise UsageError(
                f"{shape.devices} devices cannot be divided evenly among {processes} processes; choose a multiple."
            )
        return shape
