"""Jobs: seeds of one study or of many, and how they are trained one after the other."""

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxmnist.data import Dataset
from jaxmnist.errors import DivergedError, UsageError
from jaxmnist.experiments.study.folder import Study, write_divergence
from jaxmnist.experiments.study.loop import close_seed, tell_finished, train_seeds
from jaxmnist.runs.progress import Callback
from jaxmnist.runtime.devices import Device
from jaxmnist.runtime.files import locked

SECONDS_TO_STOP = 30.0
"""After a signal, or after the parent's end: time for a process to save what it trains."""


class Job(NamedTuple):
    """A seed of a study, and the callbacks for its progress."""

    study: Study
    seed: int
    callbacks: Sequence[Callback]


class Settings(NamedTuple):
    """What is to be known of all jobs, besides their studies."""

    data_dir: Path | None
    compile_cache: bool
    keep_checkpoints: bool
    note_divergence: bool = False
    """A seed that diverges is written down as such, and the others go on; otherwise it is an error."""


def train_jobs(
    jobs: Iterable[Job],
    dataset: Dataset,
    device: Device,
    environment: Mapping[str, Any],
    settings: Settings,
) -> None:
    """Trains seeds that are not finished, one after the other, as `jaxmnist.experiments.study.loop.train_seeds` does.

    Args:
        jobs: what to train; the next one is asked for when the one before it is finished.
        dataset: what all the studies are about.
        device: where to compute.
        environment: as for `jaxmnist.runs.folder.open_run`.
        settings: for all of them.
    """
    for job in jobs:
        _wait_for_orphans(job.study.run(job.seed))
        try:
            train_seeds(
                job.study, [job.seed], dataset, device, job.callbacks, environment, settings.keep_checkpoints
            )
        except DivergedError as error:
            if not settings.note_divergence:
                raise
            write_divergence(job.study, job.seed, str(error))
            close_seed(job.study, job.seed, settings.keep_checkpoints)
            tell_finished(job.study, job.seed, job.callbacks)


def _wait_for_orphans(run: Path) -> None:
    """Waits for the child of a killed parent, which saves its state before it ends, to let go of a run."""
    deadline = time.monotonic() + SECONDS_TO_STOP
    while run.is_dir() and time.monotonic() < deadline:
        try:
            with locked(run):
                return
        except UsageError:
            time.sleep(0.2)
