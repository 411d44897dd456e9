"""Trainings that go on: from other weights, for more epochs, or to an earlier end."""

import contextlib
import dataclasses
import itertools
import json
import math
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

import jaxmnist
from jaxmnist.config import RECIPES, Schedule, get_recipe
from jaxmnist.config.changes import modified
from jaxmnist.config.run import RunConfig, with_data
from jaxmnist.data import load_dataset
from jaxmnist.errors import CheckpointError, JaxmnistWarning, UsageError
from jaxmnist.interop.torch import to_torch
from jaxmnist.runs import initial
from jaxmnist.runs.about import FOLDER, newest_about
from jaxmnist.runs.compare import read_run
from jaxmnist.runs.devices import training_devices
from jaxmnist.runs.extend import extended
from jaxmnist.runs.folder import CONFIG, RESULTS, create_run, read_config, read_metrics
from jaxmnist.runs.initial import arch_of, initial_state, with_initial_weights
from jaxmnist.runs.loop import fit
from jaxmnist.runs.pace import within_budget
from jaxmnist.runs.record import read_record
from jaxmnist.runs.restore import restore_run
from jaxmnist.runs.session import place
from jaxmnist.runs.stopping import StopRule
from jaxmnist.train.jit import build_programs
from jaxmnist.train.state import Keys
from tests.data.written import some_images, write_npz

DEVICE = jax.devices()[0]


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


@pytest.fixture
def run(tiny_run, tmp_path):
    """A copy of the tiny run of two epochs."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


@pytest.fixture(scope="module")
def own_data(tmp_path_factory):
    """A file with noise in three classes."""
    return write_npz(tmp_path_factory.mktemp("data") / "own.npz", some_images(train=80, test=30))


def config_for(dataset, **recipe):
    chosen = dataclasses.replace(get_recipe("second"), **({"epochs": 1} | recipe))
    return with_data(RunConfig("second", chosen, "", 1, "val", ""), dataset)


def leaves(run):
    network = restore_run(run, "latest", DEVICE)
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(network.variables)]


def without_times(rows):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


# More epochs


def test_a_run_with_more_epochs_is_the_run_that_began_with_them(run, digits, tmp_path):
    config = dataclasses.replace(read_config(run), recipe=modified(read_config(run).recipe, epochs=3))
    whole = create_run(tmp_path, config, {})
    fit(config, digits, whole, training_devices(config, DEVICE))
    network = jaxmnist.resume_run(run, epochs=3, device="cpu", progress=False)
    assert without_times(network.metrics) == without_times(read_metrics(whole))
    assert leaves(run) == leaves(whole)
    assert network.results is not None
    assert (network.results.epochs, network.results.stopped) == (3, None)
    assert (read_config(run).extended_from, read_config(run).recipe.name) == (2, "second-modified")
    # Again, now that checkpoints of two numbers of epochs are there.
    assert extended(run, 4).extended_from == 2
    assert len(read_record(run).rows) == 3
    assert restore_run(run, "best", DEVICE).epoch is not None


def test_a_run_that_was_extended_and_not_yet_resumed_is_readable(run):
    extended(run, 9)
    assert not (run / RESULTS).exists()
    assert read_record(run).results is None
    assert len(read_record(run).rows) == 2
    assert read_run(run).epochs == 2


def test_any_other_change_of_an_extended_configuration_is_still_refused(run):
    config = extended(run, 9)
    values = json.loads((run / CONFIG).read_text())
    about = newest_about(run)
    assert about is not None
    for name, value in {"epochs": 1, "learning_rate": 0.5}.items():
        changed = values | {"recipe": values["recipe"] | {name: value}}
        (run / CONFIG).write_text(json.dumps(changed))
        with pytest.raises(CheckpointError, match="is not the configuration of the run"):
            read_config(run)
    assert config.recipe.epochs == 9


@pytest.mark.parametrize(
    ("recipe", "epochs", "message"),
    [
        ({}, 1, "--epochs 1 is below the 2 of .*; give a higher number"),
        (
            {"schedule": Schedule()},
            5,
            "does not go with the one_cycle schedule .*--init-from .* --epochs 3[.]$",
        ),
        ({"schedule": Schedule("linear")}, 5, "does not go with the linear schedule"),
        ({"fade": 0.3}, 5, "does not go with the fading augmentation"),
    ],
)
def test_fewer_epochs_or_a_course_over_all_epochs_are_refused_in_words(
    tmp_path, digits, recipe, epochs, message
):
    fade = recipe.pop("fade", 0.0)
    config = config_for(digits, epochs=2, **recipe)
    augmentation = dataclasses.replace(config.recipe.augmentation, fade=fade)
    config = dataclasses.replace(config, recipe=dataclasses.replace(config.recipe, augmentation=augmentation))
    run = create_run(tmp_path, config, {})
    with pytest.raises(UsageError, match=message):
        extended(run, epochs)
    assert read_config(run) == config


# An earlier end


def rows_of(*accuracies, seconds=10.0):
    return [
        {"epoch": i + 1, "val_accuracy": float(accuracy), "test_accuracy": 0.0, "seconds": seconds}
        for i, accuracy in enumerate(accuracies)
    ]


def test_patience_counts_the_epochs_since_the_kept_one(digits):
    config, rule = config_for(digits), StopRule(patience=2)
    assert rule.reason(config, rows_of(90, 91, 90.5), 0.0) is None
    assert rule.reason(config, rows_of(90, 91, 90.5, 91), 0.0) == "no better epoch in 2"
    # The first epochs of some recipes never count as best, so none waits for a better one.
    config = config_for(digits, ignored_epochs=3)
    assert rule.reason(config, rows_of(99, 90, 90, 90), 0.0) is None
    assert rule.reason(config, rows_of(99, 90, 90, 90, 90), 0.0) == "no better epoch in 2"


def test_an_epoch_that_would_end_after_the_time_is_not_begun(digits):
    config, rule = config_for(digits), StopRule(max_seconds=30.0)
    assert rule.reason(config, rows_of(90, 91), 20.0) is None
    assert rule.reason(config, rows_of(90, 91), 20.1) == "30 seconds are over with the next epoch"
    scheduled = config_for(digits, schedule=Schedule())
    assert rule.reason(scheduled, rows_of(90, 91), 99.0) is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"patience": 0}, "--patience 0 is out of range"),
        ({"max_seconds": 0.0}, "--max-seconds 0 is out of range"),
        ({"max_seconds": math.nan}, "--max-seconds nan is out of range"),
    ],
)
def test_limits_out_of_range_are_refused(values, message):
    with pytest.raises(UsageError, match=message):
        StopRule(**values)


def test_limits_that_a_recipe_does_not_allow_are_refused_with_the_reason(digits):
    scheduled, last = (
        config_for(digits, schedule=Schedule()),
        dataclasses.replace(config_for(digits), select_on="last"),
    )
    for config, rule, is_resumed, message in (
        (scheduled, StopRule(patience=3), False, "would cut off the end of the one_cycle schedule"),
        (last, StopRule(patience=3), False, "--select-on last has none"),
        (scheduled, StopRule(max_seconds=3.0), True, "which is fixed since the run began; .* --init-from"),
    ):
        with pytest.raises(UsageError, match=message):
            rule.require_fitting(config, is_resumed)
    StopRule(max_seconds=3.0).require_fitting(scheduled)
    StopRule(3, 3.0).require_fitting(config_for(digits), is_resumed=True)


def test_a_run_out_of_patience_is_complete_with_its_best_epoch_and_goes_on_without_a_limit(tmp_path, digits):
    # At this rate nothing changes, so no epoch is better than the first.
    config = config_for(digits, epochs=3, learning_rate=1e-30)
    run = create_run(tmp_path, config, {})
    where = training_devices(config, DEVICE)  # those of the fixture's run, whose programs are compiled
    results = fit(config, digits, run, where, stop_rule=StopRule(patience=1))
    assert (results.epochs, results.best_epoch, results.stopped) == (2, 1, "no better epoch in 1")
    assert read_record(run).results == results
    assert restore_run(run, "best", DEVICE).epoch == 1
    assert fit(config, digits, run, where, stop_rule=StopRule(patience=1)).epochs == 2
    results = fit(config, digits, run, where)
    assert (results.epochs, results.stopped) == (3, None)


def test_a_session_out_of_time_ends_after_an_epoch(run, digits):
    config = extended(run, 9)
    where = training_devices(config, DEVICE)
    results = fit(config, digits, run, where, stop_rule=StopRule(max_seconds=1e-3))
    assert (results.epochs, results.stopped) == (3, "0.001 seconds are over with the next epoch")


def test_a_schedule_gets_the_epochs_that_fit_into_the_time(digits):
    config = config_for(digits, epochs=1000, schedule=Schedule())
    few, more = (within_budget(config, digits, DEVICE, seconds).recipe for seconds in (0.1, 30.0))
    assert few.epochs == 1
    assert 1 < more.epochs < 1000
    assert more.name == "second-modified"


def test_a_time_keeps_a_twentieth_in_reserve(digits, monkeypatch):
    # Every look at the clock takes a second: a batch, each evaluation, and 17 looks before the end.
    clock = SimpleNamespace(perf_counter=partial(next, itertools.count(0.0, 1.0)))
    monkeypatch.setattr("jaxmnist.runs.pace.time", clock)
    config = config_for(digits, epochs=1000, schedule=Schedule())
    batches = -(-len(place(digits, config, DEVICE).train_split) // 64)
    seconds = 16.0 + 10 * (batches + 2)
    assert within_budget(config, digits, DEVICE, seconds).recipe.epochs == 9


def test_the_time_is_told_to_a_schedule_and_the_run_then_ends_with_it(monkeypatch, tmp_path):
    def told(config, dataset, where, seconds):
        assert 0 < seconds <= 60
        return dataclasses.replace(config, recipe=modified(config.recipe, epochs=1))

    monkeypatch.setattr("jaxmnist.training.within_budget", told)
    options: dict[str, Any] = {"dataset": "digits", "runs": tmp_path, "device": "cpu", "progress": False}
    network = jaxmnist.train_run("second", schedule="one_cycle", epochs=50, max_seconds=60.0, **options)
    assert network.results is not None
    assert (network.results.epochs, network.results.stopped) == (1, None)
    assert network.metrics[-1]["learning_rate"] < 1e-3


# Other weights


def begun(config):
    """Variables with which a run begins, and those without a source."""
    programs = build_programs(config.create_model(), config.recipe, DEVICE, 10)
    fresh = programs.create_state(Keys.from_seed(config.seed).init)
    return initial_state(fresh, config), fresh


def flat(variables):
    paths = jax.tree_util.tree_leaves_with_path(variables)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in paths}


def test_weights_of_the_same_classes_are_taken_whole_by_another_recipe(tiny_run, digits):
    config = config_for(digits, optimizer="adamw", averaging=get_recipe("flagship").averaging)
    config = with_initial_weights(config, digits, tiny_run)
    state, _ = begun(config)
    source = restore_run(tiny_run, "best", DEVICE)
    jax.tree.map(np.testing.assert_array_equal, state.last_variables, source.variables)
    jax.tree.map(np.testing.assert_array_equal, state.average, source.variables)
    assert config.init_from == str(tiny_run)


@pytest.mark.parametrize("names", ["abc", "abcdefghij", "abcdefghijkl", "1023456789"])
def test_other_classes_get_a_fresh_head_and_all_else_of_the_source(tiny_run, tmp_path, names):
    # Ten classes with other names, or in another order, need a fresh head as well.
    classes = len(names)
    data = write_npz(
        tmp_path / "own.npz", some_images(train=80, test=30, classes=classes), classes=list(names)
    )
    dataset = load_dataset(data)
    config = with_initial_weights(config_for(dataset), dataset, tiny_run)
    state, fresh = begun(config)
    new, old, source = (
        flat(of)
        for of in (
            state.last_variables,
            fresh.last_variables,
            restore_run(tiny_run, "best", DEVICE).variables,
        )
    )
    taken = {path for path, leaf in new.items() if np.array_equal(leaf, source[path])}
    kept = {path for path, leaf in new.items() if np.array_equal(leaf, old[path])} - taken
    assert taken | kept == set(new)
    assert kept
    assert all(classes in new[path].shape for path in kept)
    assert "params/conv1/kernel" in taken


def test_images_are_normalised_as_for_the_source_unless_the_recipe_says_otherwise(tiny_run, digits, own_data):
    dataset, its = load_dataset(own_data), read_config(tiny_run).recipe
    assert with_initial_weights(config_for(dataset), dataset, tiny_run).recipe.mean == its.mean
    own = config_for(dataset, mean=0.25, std=0.5)
    assert with_initial_weights(own, dataset, tiny_run).recipe.mean == 0.25


def test_a_weights_file_is_a_source_as_well(tiny_run, own_data, tmp_path):
    (file,) = tiny_run.glob("*.npz")
    other = tmp_path / "plain.npz"
    variables = restore_run(tiny_run, "best", DEVICE).variables
    arrays: dict[str, Any] = {
        f"module.{name}": array for name, array in to_torch("second", variables).items()
    }
    np.savez(other, **arrays)
    dataset = load_dataset(own_data)
    states = []
    for source in (tiny_run, file, other):
        with pytest.warns(JaxmnistWarning, match="module") if source == other else contextlib.nullcontext():
            config = with_initial_weights(config_for(dataset), dataset, source)
        states.append(flat(begun(config)[0].last_variables))
    assert {arch_of(source) for source in (tiny_run, file)} == {"second"}
    for state in states[1:]:
        for path, leaf in state.items():
            np.testing.assert_array_equal(leaf, states[0][path])


def test_a_source_that_changed_since_the_run_began_is_refused(run, digits):
    config = with_initial_weights(config_for(digits), digits, run)
    with pytest.raises(CheckpointError, match="has other weights than when the run began"):
        begun(dataclasses.replace(config, init_fingerprint="0" * 64))
    initial._cached.cache_clear()
    shutil.rmtree(run / FOLDER)
    with pytest.raises(CheckpointError, match="has no folder checkpoints"):
        begun(config)


def test_sources_that_do_not_fit_are_refused_with_the_reason(tiny_run, digits, tmp_path):
    third = dataclasses.replace(config_for(digits), arch="third")
    with pytest.raises(
        UsageError, match="has the weights of second, and the run trains third; leave out --arch"
    ):
        with_initial_weights(third, digits, tiny_run)
    # It has seen the images that would judge a run with other held-out images.
    folds = dataclasses.replace(config_for(digits), folds=3)
    with pytest.raises(UsageError, match=r"^--init-from .* has seen images that are held out here"):
        with_initial_weights(folds, digits, tiny_run)
    with pytest.raises(CheckpointError, match="is not a run folder"):
        with_initial_weights(config_for(digits), digits, tmp_path)


def test_every_published_recipe_but_those_with_a_schedule_can_be_given_more_epochs():
    from jaxmnist.runs.stopping import course_over_length

    assert [name for name in RECIPES if course_over_length(get_recipe(name))] == [
        "evolution_one_cycle",
        *("flagship", "fast", "sprint", "dash", "tiny"),
    ]
