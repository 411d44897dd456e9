"""The number of processes of a study: chosen from what was measured, which happens on real training."""

import dataclasses
import io
import re

import jax
import pytest
from rich.console import Console

from jaxmnist.cli.study import Study
from jaxmnist.config import get_recipe
from jaxmnist.config.run import RunConfig
from jaxmnist.data import load_dataset
from jaxmnist.experiments.study import pace
from jaxmnist.experiments.study.pace import Pace, fastest, measure_paces
from jaxmnist.experiments.study.processes import Settings
from jaxmnist.experiments.study.training import Resources
from jaxmnist.report.terminal.study import print_paces
from jaxmnist.runs.progress import Progress
from jaxmnist.runtime.team import ALONE


@pytest.fixture
def config():
    recipe = dataclasses.replace(get_recipe("second"), epochs=200, batch_size=32)
    return RunConfig("second", recipe, "digits", 1, "val", load_dataset("digits").fingerprint)


@pytest.mark.parametrize(("seeds", "processes"), [(10, 2), (2, 2), (3, 1), (11, 2)])
def test_idle_cores_in_the_last_round_count(seeds, processes):
    """Three seeds of two cores: two rounds by core, or three shorter ones on both cores."""
    assert fastest([Pace(2, 100.0), Pace(1, 90.0)], seeds).processes == processes


def test_fewer_processes_are_tried_until_they_are_slower(config, monkeypatch):
    speeds = {8: 100.0, 4: 120.0, 2: 110.0, 1: 500.0}
    monkeypatch.setattr(pace, "_measure", lambda config, processes, *_: Pace(processes, speeds[processes]))
    paces = measure_paces(config, 80, 8, Settings(None, True), {})
    assert [one.processes for one in paces] == [8, 4, 2]
    assert fastest(paces, 80).processes == 4
    assert [one.processes for one in measure_paces(config, 1, 8, Settings(None, True), {})] == [1]


def test_the_pace_is_the_sum_over_seeds_that_all_train(monkeypatch):
    now = 0.0
    monkeypatch.setattr(pace.time, "perf_counter", lambda: now)
    watch = pace._Watch(2)
    for now in range(23):
        watch(Progress("step", 0, 1 + now // 10, now % 10, 10))  # a step a second
        if now >= 20:  # the second seed compiles for longer
            watch(Progress("step", 1, 1, 3 * (now - 20), 1000))
    now = 24
    with pytest.raises(pace._EnoughError):
        watch(Progress("step", 0, 3, 4, 10))
    assert watch.steps_per_second() == 4.0


def test_a_measurement_trains_and_leaves_nothing(config, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(pace, "_SECONDS", 0.2)
    (one,) = measure_paces(config, 1, 1, Settings(None, True), {"devices": 1})
    assert one.steps > 10
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "seeds", "processes"),
    [
        ({}, 1000, 1),
        ({}, 10, 4),  # a short study is not worth it
        ({}, 1, 4),
        ({"processes": 3}, 1000, 3),
        ({"together": 1}, 1000, 0),
    ],
)
def test_a_long_study_measures_first(config, monkeypatch, options, seeds, processes):
    monkeypatch.setattr("jaxmnist.runtime.devices.count_cores", lambda: 4)
    monkeypatch.setattr(pace, "measure_paces", lambda *_: [Pace(4, 100.0), Pace(2, 110.0), Pace(1, 120.0)])
    console = Console(file=io.StringIO(), width=80)
    device = jax.devices("cpu")[0]
    command = Study(**options)
    config = dataclasses.replace(config, recipe=dataclasses.replace(config.recipe, epochs=2))
    resources = Resources(load_dataset("digits"), device, {}, Settings(None, True), ALONE)
    assert command._count_processes(console, config, resources, seeds) == processes


def test_what_was_measured_is_said():
    out = io.StringIO()
    console = Console(file=out, width=80)
    paces = [Pace(2, 264.4), Pace(1, 251.0)]
    print_paces(console, paces, paces[0])
    assert re.sub(r"\s+", " ", out.getvalue()).strip() == (
        "seeds at once: 2; steps a second with 2 at once: 264, 1 at once: 251"
    )
