"""The number of processes that trains a study's seeds fastest on this machine's cores, found by training for moments.

More processes train more seeds at once, each on fewer cores, which then divide every batch.
"""

import contextlib
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxmnist.config.run import RunConfig
from jaxmnist.data import Dataset
from jaxmnist.experiments.study.folder import open_study
from jaxmnist.experiments.study.jobs import Job
from jaxmnist.experiments.study.processes import Settings, train_in_processes
from jaxmnist.runs.progress import Progress

LEAST_STEPS = 50_000
"""Steps of a study for which the measurement pays: it takes some ten seconds for each number of processes."""

_SECONDS = 3.0


class Pace(NamedTuple):
    """Speed of a number of processes that train seeds on all cores."""

    processes: int
    steps: float
    """Steps a second, of all processes together."""

    def rounds(self, seeds: int) -> float:
        """Returns the time of so many seeds, as a multiple of a seed's steps in seconds."""
        return math.ceil(seeds / self.processes) * self.processes / self.steps


def is_worth_measuring(config: RunConfig, dataset: Dataset, seeds: int, cores: int) -> bool:
    """True if there is a choice, and the study is long enough to gain from it."""
    train = config.splits(len(dataset.train_labels), len(dataset.test_labels))["train"]
    return min(seeds, cores) > 1 and seeds * config.recipe.total_steps(len(train)) >= LEAST_STEPS


def measure_paces(
    config: RunConfig, seeds: int, cores: int, settings: Settings, environment: Mapping[str, Any]
) -> list[Pace]:
    """Trains for moments, in a folder that is deleted, with fewer and fewer processes until that is slower.

    Args:
        config: the configuration of the study.
        seeds: number of seeds to train.
        cores: number of cores.
        settings: settings of the processes.
        environment: as for `jaxmnist.experiments.study.folder.open_study`.

    Returns:
        The paces in the order in which they were measured.

    Raises:
        InterruptedRunError: SIGINT, SIGTERM or SIGHUP arrived.
        JaxmnistError: as for `jaxmnist.experiments.study.processes.train_in_processes`.
    """
    paces: list[Pace] = []
    processes = min(cores, seeds)
    while processes:
        paces.append(_measure(config, processes, settings, environment))
        if fastest(paces, seeds) is not paces[-1]:
            break
        processes //= 2
    return paces


def fastest(paces: Sequence[Pace], seeds: int) -> Pace:
    """Returns the pace that trains so many seeds in the least time; a last round may leave cores idle."""
    return min(paces, key=lambda pace: pace.rounds(seeds))


def _measure(config: RunConfig, processes: int, settings: Settings, environment: Mapping[str, Any]) -> Pace:
    watch = _Watch(processes)
    with tempfile.TemporaryDirectory(prefix="jaxmnist-") as folder:
        study = open_study(Path(folder, "pace"), config, environment)
        jobs = [Job(study, seed, [watch]) for seed in range(processes)]
        with contextlib.suppress(_EnoughError):
            train_in_processes(jobs, processes, settings)
    return Pace(processes, watch.steps_per_second())


class _EnoughError(Exception):
    """Ends a measurement."""


class _Watch:
    """A callback that counts the steps of all seeds from the moment at which the last one has begun."""

    def __init__(self, seeds: int) -> None:
        self._seeds = seeds
        self._first: dict[int, tuple[float, int]] = {}
        self._last: dict[int, tuple[float, int]] = {}

    def __call__(self, progress: Progress) -> None:
        if progress.kind != "step":
            return
        now = time.perf_counter()
        self._last[progress.seed] = now, (progress.epoch - 1) * progress.total + progress.done
        if not self._first:
            self._first = dict(self._last) if len(self._last) == self._seeds else {}
        elif now - max(began for began, _ in self._first.values()) > _SECONDS:
            raise _EnoughError

    def steps_per_second(self) -> float:
        pairs = [(self._first[seed], self._last[seed]) for seed in self._first]
        return sum((steps - before) / max(now - began, 1e-9) for (began, before), (now, steps) in pairs)
