"""Training of a study's seeds: in one program, in several processes, or one after the other."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxmnist.config.run import RunConfig
from jaxmnist.data import Dataset
from jaxmnist.errors import UsageError
from jaxmnist.experiments.study.folder import Study
from jaxmnist.experiments.study.jobs import Job, train_jobs
from jaxmnist.experiments.study.processes import Settings, train_in_processes
from jaxmnist.experiments.study.together import train_together
from jaxmnist.runs.progress import Callback
from jaxmnist.runtime.mesh import Where, first_device, mesh_shape
from jaxmnist.runtime.team import Team


class Resources(NamedTuple):
    """Data, devices and settings that the seeds of a study share."""

    dataset: Dataset
    where: Where
    environment: Mapping[str, Any]
    """As for `jaxmnist.runs.folder.open_run`."""
    settings: Settings
    """Settings of child processes."""
    team: Team
    """The processes that train together."""

    @property
    def shares_cpu(self) -> bool:
        """True for one CPU device, whose cores several processes can share."""
        return self.where == (device := first_device(self.where)) and device.platform == "cpu"


def require_possible(config: RunConfig, resources: Resources, processes: int, together: int) -> None:
    """Checks that seeds can be trained at once in the way that was asked for.

    Args:
        config: the configuration of the study.
        resources: the devices count.
        processes: as for `train_seeds`.
        together: as for `train_seeds`.

    Raises:
        UsageError: they cannot.
    """
    where = resources.where
    device = first_device(where)
    if processes > 1 and not resources.shares_cpu:
        what = f"a {device.platform}" if where == device else "several devices"
        raise UsageError(f"--processes shares a CPU, not {what}; leave it out, or add --device cpu.")
    if config.folds is not None and (together > 1 or where != device):
        raise UsageError(
            "--folds trains each seed on other images, so seeds cannot share one program; leave out --together, "
            "--devices and --mesh, or --folds."
        )


def train_seeds(
    study: Study,
    seeds: Sequence[int],
    resources: Resources,
    callbacks: Sequence[Callback] = (),
    processes: int = 0,
    together: int = 0,
) -> None:
    """Trains the seeds that are not finished.

    Args:
        study: the study.
        seeds: the seeds; all processes of a team pass the same, those that do not lead it may pass none.
        resources: data, devices and settings.
        callbacks: called with the progress of every seed.
        processes: number of processes that train a seed each on a CPU, as long as there are so many seeds.
        together: number of seeds to train in one program; 0 for one on a CPU, whose cores a seed keeps busy, and for
            all elsewhere, unless folds give each seed other images.

    Raises:
        InterruptedRunError: SIGINT, SIGTERM or SIGHUP arrived; what can be saved is.
        JaxmnistError: as for `jaxmnist.runs.loop.fit`.
    """
    dataset, where, environment, settings, team = resources
    device = first_device(where)
    is_cpu = device.platform == "cpu"
    if where != device:
        # On a CPU at most one for each part of the mesh: the whole group is saved at the end of an epoch.
        most = mesh_shape(where).seed if is_cpu else len(seeds)
        together = team.agree(together or max(1, most))
    else:
        together = together or (1 if is_cpu or study.config.folds is not None else len(seeds))
    if where != device or min(together, len(seeds)) > 1:
        train_together(study, seeds, dataset, where, callbacks, environment, together, team)
        return
    jobs, processes = [Job(study, seed, callbacks) for seed in seeds], min(processes, len(seeds))
    if processes > 1:
        train_in_processes(jobs, processes, settings)
    else:
        train_jobs(jobs, dataset, device, environment)
