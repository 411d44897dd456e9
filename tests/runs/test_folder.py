"""The run folder: its files, and the errors for damaged ones."""

import dataclasses
import json
import shutil
import subprocess
from pathlib import Path

import jax
import pytest

from jaxmnist.config import RECIPES, Recipe, get_recipe
from jaxmnist.config.run import RunConfig
from jaxmnist.config.seal import opened, sealed
from jaxmnist.errors import CheckpointError, UsageError
from jaxmnist.runs.environment import environment
from jaxmnist.runs.folder import (
    CONFIG,
    METRICS,
    create_run,
    naming_damage,
    read_config,
    read_metrics,
    write_json,
    write_metrics,
)
from jaxmnist.runs.selection import summarise


def config_of(recipe: Recipe) -> RunConfig:
    return RunConfig("third", recipe, "mnist", 7, "test", "abc")


@pytest.mark.parametrize("name", RECIPES)
def test_a_configuration_comes_back_as_it_was_written(tmp_path, name):
    config = config_of(get_recipe(name))
    run = create_run(tmp_path, config, {"python": "3"})
    assert run.name.startswith(f"third-{name}-mnist-s7-")
    assert read_config(run) == config
    assert json.loads((run / CONFIG).read_text())["environment"] == {"python": "3"}


def test_two_runs_of_the_same_second_get_folders_of_their_own(tmp_path):
    config = config_of(get_recipe("third"))
    assert len({create_run(tmp_path, config, {}) for _ in range(5)}) == 5


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=f"{tmp_path} is not a run folder"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"arch": "third"}', "[" * 100_000, '"text"', '{"environment": 1, "recipe": 5}']
)
def test_a_damaged_configuration_is_named(tmp_path, text):
    (tmp_path / CONFIG).write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json is damaged"):
        read_config(tmp_path)


def test_a_runs_folder_that_is_a_file_is_refused_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        create_run(tmp_path / "file", config_of(get_recipe("third")), {})


@pytest.mark.parametrize(
    ("name", "message"), [("\udcff", "not UTF-8"), ("/".join(["x" * 100] * 38), "path that is too long")]
)
def test_a_folder_that_checkpoints_could_not_be_written_in_is_refused_before_it_is_made(
    tmp_path, name, message
):
    with pytest.raises(UsageError, match=message):
        create_run(tmp_path / name, config_of(get_recipe("third")), {})
    assert not list(tmp_path.iterdir())


def test_metrics_hold_the_lines_they_are_told_to_whatever_is_there(tmp_path):
    rows = [{"epoch": epoch, "seconds": 1.0} for epoch in (1, 2, 3)]
    for count in (1, 2, 3):
        write_metrics(tmp_path, rows[:count])
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"epoch": 4')
    assert read_metrics(tmp_path) == rows
    write_metrics(tmp_path, rows[:2])
    assert (tmp_path / METRICS).read_text().count("\n") == 2
    (tmp_path / METRICS).write_bytes(b"\xff\xfe\n")
    assert read_metrics(tmp_path) == []
    write_metrics(tmp_path, rows)
    assert read_metrics(tmp_path) == rows


def test_results_tell_the_selected_epoch_from_the_luckiest_one():
    rows = [
        {"val_accuracy": val, "test_accuracy": test, "train_accuracy": 98.0, "epoch": epoch, "seconds": 2.0}
        for epoch, (val, test) in enumerate([(98.0, 99.1), (99.0, 99.3), (99.0, 99.5), (98.5, 99.0)], start=1)
    ]
    config = dataclasses.replace(config_of(get_recipe("third")), select_on="val")
    results = summarise(config, rows, 7_902)
    assert (results.best_epoch, results.test_accuracy_of_best) == (2, 99.3)
    assert (results.best_test_epoch, results.best_test_accuracy) == (3, 99.5)
    assert results.final_test_accuracy == 99.0
    assert results.last_five_mean_test_accuracy == pytest.approx((99.1 + 99.3 + 99.5 + 99.0) / 4)
    assert results.seconds == 8.0


def rows_of(accuracies):
    return [
        {"test_accuracy": test, "train_accuracy": 98.0, "epoch": epoch, "seconds": 2.0}
        for epoch, test in enumerate(accuracies, start=1)
    ]


@pytest.mark.parametrize(
    ("accuracies", "best", "met"),
    [
        ([98.0, 98.5, 99.0, 99.4, 99.4, 99.5, 99.3], 6, True),
        ([98.0, 98.5, 99.6, 99.4, 99.5], 3, False),  # never above the third epoch, which is ignored
        ([98.0, 98.5, 99.0, 99.2, 99.29], 5, False),  # never 99.3
        ([98.0, 98.5, 99.0, 99.3], 4, True),
    ],
)
def test_the_checkpoint_rule_of_dilated_is_the_published_one(accuracies, best, met):
    config = dataclasses.replace(config_of(get_recipe("dilated")), select_on="test")
    results = summarise(config, rows_of(accuracies), 5_340)
    assert (results.best_epoch, results.rule_met) == (best, met)


def test_the_environment_names_the_revision_of_the_checkout(tmp_path, monkeypatch):
    file = tmp_path / "jaxmnist" / "runs" / "folder.py"
    file.parent.mkdir(parents=True)
    file.touch()
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        subprocess.run([*git, *words], check=True)
    monkeypatch.setattr("jaxmnist.runs.environment.__file__", str(file))
    revision = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout
    assert environment(jax.devices()[0])["git_revision"] == revision[:12]


@pytest.mark.parametrize("recipe", ["first", ["first"], None])
def test_a_configuration_whose_recipe_is_no_object_is_named_without_words_of_python(tmp_path, recipe):
    (tmp_path / "config.json").write_text(json.dumps({"arch": "first", "recipe": recipe}))
    with pytest.raises(CheckpointError, match=r"recipe is .*, which must be a JSON object"):
        read_config(tmp_path)


def test_a_link_to_itself_is_named_without_the_number_of_the_error(tmp_path):
    path = tmp_path / "x"
    path.symlink_to("x")
    message = r"x is damaged \(Too many levels of symbolic links\)"
    with pytest.raises(CheckpointError, match=message), naming_damage(path):
        path.read_text()


def test_a_run_from_before_there_was_a_field_is_read_with_its_default(tiny_run, tmp_path):
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    present = read_config(run)
    older = json.loads((run / "config.json").read_text())
    del older["recipe"]["nesterov"], older["folds"], older["seal"]
    write_json(run / "config.json", sealed(older))
    for path in run.glob("checkpoints/*/about.json"):
        about = opened(json.loads(path.read_text()))
        del about["config"]["recipe"]["nesterov"], about["config"]["folds"]
        write_json(path, sealed(about))
    assert len([*run.glob("checkpoints/*/about.json")]) > 0
    assert read_config(run) == present
