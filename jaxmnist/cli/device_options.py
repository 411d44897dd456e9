"""Where a training runs: the options of commands that can use several devices and processes."""

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

PLACES = ("devices", "mesh", "coordinator", "num_processes", "process_id", "distributed")
"""Options that say where to train, which a run may change from session to session."""


@dataclasses.dataclass(frozen=True)
class PlacedCommand(TrainingCommand):
    """Options of the commands that train on meshes and in several processes."""

    devices: OptionalInt = None
    """Divide every batch over so many devices, of all processes together. On a CPU they are simulated."""
    mesh: Mesh = None
    """The same for a grid of devices: batches are divided along data, the seeds of a study along seed."""
    coordinator: Address = None
    """Train in several processes, on one machine or many: the address of process 0, for all the same."""
    num_processes: OptionalInt = None
    """How many processes there are."""
    process_id: OptionalInt = None
    """Which of them this is, counted from 0."""
    distributed: bool = False
    """Take what of these three is not given from SLURM, Open MPI or Kubernetes."""

    def join(self) -> "Team":
        """The processes of which this is one; JAX has started as one of them."""
        from jaxmnist.runtime.processes import join, launch_of

        self._shape(1)  # wrong options before others wait
        return join(launch_of(self.coordinator, self.num_processes, self.process_id, self.distributed))

    def start_on(self, team: "Team", console: "Console") -> "Where":
        """The device, or the mesh that the options ask for: with several processes of all their devices, unless
        less is asked for.

        Raises:
            UsageError: there are not as many devices, or they cannot be shared out among the processes.
        """
        import jax

        from jaxmnist.runtime.devices import simulate_cpu_devices
        from jaxmnist.runtime.mesh import MeshShape, select_mesh

        team.barrier()  # all have their data, wherever from
        shape = self._shape(team.size)
        if shape is not None and shape.devices > team.size:
            simulate_cpu_devices(shape.devices // team.size)
        device = self.start()
        if shape is None and team.size == 1:
            return device
        everyones = jax.devices(device.platform)
        shape = shape or MeshShape(data=len(everyones))
        if shape.devices == 1:
            return device
        mesh = select_mesh(everyones, shape, team.size)
        if device.platform == "cpu" and shape.devices > team.size:
            console.print(
                f"{shape.devices // team.size} devices are simulated: they share the processor's cores.",
                highlight=False,
            )
        return mesh

    def _shape(self, processes: int) -> "MeshShape | None":
        from jaxmnist.runtime.mesh import MeshShape, parse_mesh

        if self.devices is not None and self.mesh is not None:
            raise UsageError("--devices and --mesh both say how many devices there are; give one of them.")
        if self.devices is not None and self.devices < 1:
            raise UsageError(f"--devices {self.devices} is out of range; choose a number from 1 on.")
        shape = MeshShape(data=self.devices) if self.devices else None
        if self.mesh is not None:
            shape = parse_mesh(self.mesh)
        if shape is not None and shape.devices % processes:
            raise UsageError(
                f"{shape.devices} devices cannot be shared out evenly among {processes} processes; choose a multiple."
            )
        return shape
