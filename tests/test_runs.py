"""The run folder: its files, and what happens when they are not what they should be."""

import dataclasses
import json

import pytest

from jaxmnist import runs
from jaxmnist.errors import CheckpointError, UsageError
from jaxmnist.recipes import RECIPES, Plateau, Recipe, get_recipe


def config_of(recipe: Recipe) -> runs.RunConfig:
    return runs.RunConfig("third", recipe, "mnist", 7, "test", "abc")


@pytest.mark.parametrize("name", RECIPES)
def test_a_configuration_comes_back_as_it_was_written(tmp_path, name):
    config = config_of(get_recipe(name))
    run = runs.create_run(tmp_path, config, {"python": "3"})
    assert run.name.startswith(f"third-{name}-mnist-s7-")
    assert runs.read_config(run) == config
    assert json.loads((run / runs.CONFIG).read_text())["environment"] == {"python": "3"}


def test_two_runs_of_the_same_second_get_folders_of_their_own(tmp_path):
    config = config_of(get_recipe("third"))
    assert len({runs.create_run(tmp_path, config, {}) for _ in range(5)}) == 5


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=f"{tmp_path} is not a run folder"):
        runs.read_config(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"arch": "third"}'])
def test_a_damaged_configuration_is_named(tmp_path, text):
    (tmp_path / runs.CONFIG).write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json is damaged"):
        runs.read_config(tmp_path)


def test_a_runs_folder_that_is_a_file_is_refused_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        runs.create_run(tmp_path / "file", config_of(get_recipe("third")), {})


def test_metrics_are_cut_back_to_whole_epochs(tmp_path):
    for epoch in (1, 2, 3):
        runs.append_metrics(tmp_path, {"epoch": epoch, "seconds": 1.0})
    with (tmp_path / runs.METRICS).open("a") as file:
        file.write('{"epoch": 4')
    assert [row["epoch"] for row in runs.read_metrics(tmp_path)] == [1, 2, 3]
    assert len(runs.keep_epochs(tmp_path, 2)) == 2
    assert (tmp_path / runs.METRICS).read_text().count("\n") == 2


def test_results_tell_the_selected_epoch_from_the_luckiest_one():
    rows = [
        {"val_accuracy": val, "test_accuracy": test, "train_accuracy": 98.0, "epoch": epoch, "seconds": 2.0}
        for epoch, (val, test) in enumerate([(98.0, 99.1), (99.0, 99.3), (99.0, 99.5), (98.5, 99.0)], start=1)
    ]
    config = dataclasses.replace(config_of(get_recipe("third")), select_on="val")
    results = runs.summarise(config, rows, 7_902)
    assert (results["best_epoch"], results["test_accuracy_of_best"]) == (2, 99.3)
    assert (results["best_test_epoch"], results["best_test_accuracy"]) == (3, 99.5)
    assert results["final_test_accuracy"] == 99.0
    assert results["last_five_mean_test_accuracy"] == pytest.approx((99.1 + 99.3 + 99.5 + 99.0) / 4)
    assert results["seconds"] == 8.0


def test_published_recipes_are_exactly_as_published():
    first, second, third = (get_recipe(name) for name in ("first", "second", "third"))
    for recipe in (first, second, third):
        assert (recipe.epochs, recipe.batch_size) == (15, 64)
        assert (recipe.learning_rate, recipe.momentum) == (0.01, 0.9)
        assert (recipe.mean, recipe.std) == (0.1307, 0.3081)
        assert dataclasses.asdict(recipe.augmentation) == {
            "rotation": 8.0,
            "rotation_fill": 1,
            "translation": 0.1,
        }
    assert first.plateau is None
    assert second.plateau is None
    assert third.plateau == Plateau("loss", factor=0.5, patience=3, threshold=1e-4, min_lr=0.0)


def test_an_unknown_recipe_is_answered_with_the_names_that_exist():
    with pytest.raises(UsageError, match=r"'thurd' \(did you mean 'third'\?\); choose one of first"):
        get_recipe("thurd")


@pytest.mark.parametrize(
    ("field", "value"), [("epochs", 0), ("batch_size", -1), ("learning_rate", 0.0), ("std", float("nan"))]
)
def test_a_recipe_with_an_impossible_value_is_refused(field, value):
    with pytest.raises(UsageError, match=f"{field}={value}, which must be above 0"):
        dataclasses.replace(get_recipe("third"), **{field: value})
