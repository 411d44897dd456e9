"""Complete run, study and sweep folders, made once in a process and copied by the attacks."""

import dataclasses
import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from jaxmnist.config.run import RunConfig
from jaxmnist.data import load_dataset
from jaxmnist.experiments.study.folder import open_study, read_seeds, summary, write_results
from jaxmnist.experiments.study.jobs import Job, train_jobs
from jaxmnist.experiments.sweep.axes import parse_axes
from jaxmnist.experiments.sweep.folder import Plan, Sweep, open_sweep
from jaxmnist.experiments.sweep.loop import train_sweep
from jaxmnist.experiments.sweep.members import grid_members
from jaxmnist.experiments.sweep.table import read_results, write_table
from jaxmnist.runs.environment import environment
from jaxmnist.runs.folder import read_config
from jaxmnist.runtime.devices import Device
from tests.torture import steps

SEEDS = 1, 2
_PLACE = tempfile.TemporaryDirectory(prefix="templates-")


def config() -> RunConfig:
    """Returns the configuration of all of them, whose programs are compiled once."""
    return dataclasses.replace(read_config(run()), seed=0)


@functools.cache
def run() -> Path:
    """Returns a complete run."""
    return steps.trained(Path(_PLACE.name))


@functools.cache
def study() -> Path:
    """Returns a complete study of two seeds."""
    found = open_study(Path(_PLACE.name, "study"), config(), environment(_device()))
    train_jobs([Job(found, seed) for seed in SEEDS], load_dataset("digits"), _device(), {})
    results = read_seeds(found)
    write_results(found, results, summary(found, results, 99.4))
    return found.folder


@functools.cache
def sweep() -> Path:
    """Returns a complete sweep of two members, one of them with the values of its base."""
    found = open_like(Path(_PLACE.name, "sweep"), open_sweep)

    def train(jobs: Any, count: int) -> None:
        del count
        train_jobs(jobs, load_dataset("digits"), _device(), {}, note_divergence=True)

    train_sweep(found, train, lambda *_: None, lambda *_: lambda progress: None)
    write_table(found, read_results(found))
    return found.folder


def open_like(folder: Path, open_folder: Callable[..., Sweep]) -> Sweep:
    """Opens or begins the sweep in a folder with the plan of `sweep`."""
    base = config()
    plan = Plan((f"batch_size={base.recipe.batch_size},256",), "grid", 2, 1)
    members = grid_members(parse_axes(plan.over))
    return open_folder(folder, plan, {base.arch: base}, members, [], environment(_device()))


def _device() -> Device:
    return jax.devices("cpu")[0]
