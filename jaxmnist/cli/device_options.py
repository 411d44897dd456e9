"""Options of the commands that can train on several devices and in several processes."""

import dataclasses
from typing import TYPE_CHECKING, Annotated

import tyro

from jaxmnist.cli.options import OptionalInt
from jaxmnist.cli.train_options import TrainingCommand
from jaxmnist.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from jaxmnist.runtime.mesh import MeshShape, Where
    from jaxmnist.runtime.team import Team

Mesh = Annotated[str | None, tyro.conf.arg(metavar="seed=N,data=N", help_behavior_hint="")]
Address = Annotated[str | None, tyro.conf.arg(metavar="HOST:PORT", help_behavior_hint="")]

DEVICE_OPTIONS = ("devices", "mesh", "coordinator", "num_processes", "process_id", "distributed")
"""Options below, which may change each time that a run is resumed."""

# The content of a configuration file counts, not its place.
_OWN_TO_A_PROCESS = {"process_id", "coordinator", "data_dir", "config", "no_compile_cache", "json", "debug"}


@dataclasses.dataclass(frozen=True)
class MultiDeviceCommand(TrainingCommand):
    """Options of the commands that can train on several devices and in several processes."""

    devices: OptionalInt = None
    """Divide every batch among this many devices, counted over all processes. On a CPU they are simulated."""
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

    def join(self) -> "Team":
        """Starts JAX as one of the processes that train together."""
        from jaxmnist.runtime.processes import join, launch_of

        self._shape(1)  # wrong options end this process before others wait for it
        return join(launch_of(self.coordinator, self.num_processes, self.process_id, self.distributed))

    def require_same_options(self, team: "Team") -> None:
        """Checks that all processes were started with the same options, except those that are a machine's own.

        Raises:
            UsageError: they were not.
        """
        names = (field.name for field in dataclasses.fields(self) if field.name not in _OWN_TO_A_PROCESS)
        team.require_same({f"--{name.replace('_', '-')}": str(getattr(self, name)) for name in names})

    def start_on(self, team: "Team", console: "Console") -> "Where":
        """Selects the device or the mesh of the options; by default several processes use all their devices.

        Args:
            team: the processes that train together.
            console: gets a line if devices are simulated.

        Raises:
            UsageError: there are fewer devices, or they cannot be divided among the processes.
        """
        import jax

        from jaxmnist.runtime.devices import simulate_cpu_devices
        from jaxmnist.runtime.mesh import MeshShape, select_mesh

        team.barrier()  # some may have to download their data first
        shape = self._shape(team.size)
        if shape is not None and shape.devices > team.size:
            simulate_cpu_devices(shape.devices // team.size)
        device = self.start()
        if shape is None and team.size == 1:
            return device
        devices = jax.devices(device.platform)
        shape = shape or MeshShape(data=len(devices))
        if shape.devices == 1:
            return device
        mesh = select_mesh(devices, shape, team.size)
        if device.platform == "cpu" and shape.devices > team.size:
            console.print(
                f"{shape.devices // team.size} devices are simulated; they share the processor's cores.",
                highlight=False,
            )
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
