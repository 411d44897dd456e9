"""Configuration of a run: merging of files and options, and the errors for wrong keys and values."""

import dataclasses
import json
from pathlib import Path

import pytest

from jaxmnist.cli import main as cli
from jaxmnist.config import RECIPES, Averaging, Schedule, get_recipe, recipe_of
from jaxmnist.config.changes import with_schedule
from jaxmnist.config.run import merge_options, read_file, run_config
from jaxmnist.errors import UsageError
from jaxmnist.models import ARCHS
from jaxmnist.training import RECIPE_OPTIONS, RUN_OPTIONS, checked_config
from tests.sizes import SIZES


def fields_of(config):
    return vars(config.create_model())


@pytest.mark.parametrize("arch", ARCHS)
def test_an_arch_alone_means_its_published_recipe_and_seed(arch):
    config = run_config({"arch": arch})
    assert config.recipe == recipe_of(arch)
    assert config.recipe.name == ("tiny" if SIZES.get(arch, 2_000) < 2_000 else arch.split("_")[0])
    assert config.seed == config.recipe.default_seed
    assert config.select_on == "val"


@pytest.mark.parametrize("recipe", RECIPES)
def test_any_recipe_goes_with_any_arch(recipe):
    assert run_config({"arch": "first", "recipe": recipe}).recipe == get_recipe(recipe)


def test_an_object_changes_what_it_names_and_leaves_the_rest():
    recipe = run_config({"recipe": {"name": "dilated", "epochs": 3, "plateau": {"patience": 2}}}).recipe
    published = get_recipe("dilated")
    assert published.plateau is not None
    plateau = dataclasses.replace(published.plateau, patience=2)
    assert recipe == dataclasses.replace(published, name="dilated-modified", epochs=3, plateau=plateau)


def test_null_takes_a_schedule_away_and_an_object_brings_one():
    assert run_config({"recipe": {"name": "third", "plateau": None}}).recipe.plateau is None
    plateau = run_config({"recipe": {"name": "first", "plateau": {"patience": 0}}}).recipe.plateau
    assert plateau is not None
    assert (plateau.patience, plateau.factor) == (0, 0.1)


def test_the_configuration_of_a_run_repeats_it():
    config = run_config(
        {"arch": "evolution_v2", "norm": "group", "seed": 3, "recipe": {"epochs": 2, "dropout": 0}}
    )
    written = json.loads(json.dumps(dataclasses.asdict(config))) | {"environment": {"python": "3"}}
    assert run_config(written) == config
    assert fields_of(config)["norm"] == "group"
    assert fields_of(config)["dropout"] == 0.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"sede": 1},
            r"the configuration has no key 'sede' \(did you mean 'seed'\?\); its keys are arch, recipe,",
        ),
        ({"recipe": {"batchsize": 1}}, r"recipe has no key 'batchsize' \(did you mean 'batch_size'\?\)"),
        (
            {"recipe": {"plateau": {"patients": 1}}},
            r"recipe\.plateau has no key 'patients' \(did you mean 'patience'",
        ),
        ({"seed": "1"}, r'seed is "1", which must be a whole number'),
        ({"seed": True}, "seed is true, which must be a whole number"),
        ({"recipe": {"learning_rate": True}}, r"recipe\.learning_rate is true, which must be a number"),
        ({"recipe": {"epochs": 1.5}}, r"recipe\.epochs is 1\.5, which must be a whole number"),
        ({"recipe": {"learning_rate": "auto"}}, r'recipe\.learning_rate is "auto", which must be a number'),
        ({"recipe": {"augmentation": 3}}, r"recipe\.augmentation is 3, which must be an object"),
        ({"recipe": {"plateau": []}}, r"recipe\.plateau is \[\], which must be an object or null"),
        ({"recipe": 3}, "recipe is 3, which must be a JSON object"),
        ({"recipe": {"optimizer": "rmsprop"}}, "which must be 'sgd' or 'adam' or 'adamw'"),
        ({"recipe": {"label_smoothing": 1}}, r"label_smoothing=1\.0, which must be at least 0 and below 1"),
        ({"select_on": "train"}, "select_on is \"train\", which must be 'val' or 'test' or 'last'"),
        (
            {"select_on": "last"},
            "'third' has a plateau schedule, which watches the selecting split, and --select-on last has",
        ),
        ({"folds": 1}, "the configuration has folds=1, which must be from 2 to 100"),
        ({"folds": 3, "recipe": "flagship", "select_on": "last"}, "--select-on last holds out none"),
        ({"arch": "thrid"}, "did you mean 'third'"),
        ({"recipe": "forth"}, "no recipe 'forth'"),
        ({"seed": 2**32}, "has seed=4294967296, which must be from 0 to 4,294,967,295"),
        ({"seed": -1}, "has seed=-1, which must be from 0"),
        (
            {"recipe": {"epochs": 10**400}},
            r"recipe\.epochs is 1000+\.\.\. \(401 characters\), which is too large",
        ),
        ({"recipe": {"dropout": 10**400}}, "which is too large for a number"),
        ({"recipe": {"batch_size": 10**6}}, "batch_size=1000000, which must be above 0 and at most 65,536"),
        ({"recipe": {"std": 1e400}}, r"recipe\.std is Infinity, which is too large"),
        ({"recipe": {"name": "../up"}}, r'recipe\.name is "\.\./up", which must be up to 100 letters'),
        ({"recipe": {"name": "x" * 101}}, "which must be up to 100 letters"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_what_would_be_right(values, message):
    with pytest.raises(UsageError, match=message):
        run_config(values)


@pytest.mark.parametrize("text", ["[]", "{", "3", ""])
def test_a_file_without_an_object_is_refused(tmp_path, text):
    (tmp_path / "f.json").write_text(text)
    with pytest.raises(UsageError, match=r"--config .*f\.json"):
        read_file(tmp_path / "f.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"seed": NaN}', "NaN is not a finite number"),
        (b'{"dropout": 1e999}', "1e999 is not a finite number"),
        (b'{"arch": "\xff"}', "can't decode byte 0xff"),
        (b'{"arch": "' + bytes(1_100_000) + b'"}', "more than 1,048,576 bytes"),
    ],
)
def test_a_file_that_means_ill_is_refused(tmp_path, content, message):
    (tmp_path / "f.json").write_bytes(content)
    with pytest.raises(UsageError, match=rf"--config .*f\.json is not a JSON object \(.*{message}"):
        read_file(tmp_path / "f.json")


def test_a_message_does_not_repeat_what_is_long():
    for values in ({"x" * 10_000: 1}, {"arch": "x" * 10_000}, {"seed": "x" * 10_000}, {"seed": [[0] * 9999]}):
        with pytest.raises(UsageError) as caught:
            run_config(values)
        assert len(str(caught.value)) < 500
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(UsageError, match="seed is nested too deeply, which must be a whole number"):
        run_config({"seed": deep})


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"none\.json cannot be read \(No such file"):
        read_file(tmp_path / "none.json")


def test_options_come_before_the_file():
    file = {"arch": "first", "seed": 4, "recipe": {"name": "dilated", "epochs": 3, "batch_size": 8}}
    merged = merge_options(file, {"arch": "third", "seed": None}, None, {"epochs": 2})
    config = run_config(merged)
    assert (config.arch, config.seed, config.recipe.epochs, config.recipe.batch_size) == ("third", 4, 2, 8)
    assert run_config(merge_options(file, {}, "second", {})).recipe == get_recipe("second")
    assert run_config(merge_options({"recipe": "second"}, {}, None, {"epochs": 2})).recipe.epochs == 2
    # Other values of the file remain.
    file = {"recipe": {"averaging": {"decay": 0.5, "start_epoch": 3}}}
    merged = merge_options(file, {}, None, {"averaging": {"decay": 0.9}})
    assert run_config(merged).recipe.averaging == Averaging(0.9, start_epoch=3)


def exit_code(arguments, monkeypatch):
    monkeypatch.setattr("sys.argv", ["train.py", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        cli.main("train")
    return exit_.value.code


def test_the_command_line_answers_a_mistyped_key_with_the_nearest_one_and_code_2(
    tmp_path, monkeypatch, capsys
):
    file = tmp_path / "mine.json"
    file.write_text('{"recipe": {"learning_rat": 0.1}}')
    assert exit_code(["--config", file, "--runs", tmp_path / "runs"], monkeypatch) == 2
    error = capsys.readouterr().err
    assert "mine.json" in error
    assert "did you mean 'learning_rate'?" in error
    assert not (tmp_path / "runs").exists()


def test_a_missed_target_is_code_6_and_the_run_is_complete(tmp_path, monkeypatch, capsys, tiny_run):
    config = json.loads((Path(tiny_run) / "config.json").read_text())
    (tmp_path / "again.json").write_text(json.dumps(config))
    arguments = ["--config", tmp_path / "again.json", "--runs", tmp_path / "runs", "--target-acc", "99.99"]
    assert exit_code(arguments, monkeypatch) == 6
    assert "below --target-acc 99.99" in capsys.readouterr().err
    (run,) = (tmp_path / "runs").iterdir()
    again, first = (json.loads((folder / "results.json").read_text()) for folder in (run, tiny_run))
    # That run changed the recipe's epochs without changing its name.
    times = {"seconds": 0, "seal": 0, "metrics_sha256": 0}
    assert {**again, "recipe": "second", **times} == {**first, **times}
    config["data_fingerprint"] = "0" * 64
    (tmp_path / "again.json").write_text(json.dumps(config))
    assert exit_code(arguments, monkeypatch) == 3


def test_a_schedule_on_the_command_line_takes_the_place_of_a_plateau():
    for recipe in ("third", {"name": "third"}):
        config = run_config({"recipe": with_schedule(recipe, "one_cycle"), "select_on": "last"})
        assert (config.recipe.plateau, config.recipe.schedule) == (None, Schedule())
    constant = run_config({"recipe": with_schedule("third", "constant")}).recipe
    assert (constant.plateau, constant.schedule) == (None, None)
    # Other values of the schedule remain.
    chosen = with_schedule({"schedule": {"warm_up": 0.1}}, "linear")
    assert run_config({"recipe": chosen}).recipe.schedule == Schedule("linear", 0.1)


def test_every_option_of_a_training_reaches_its_field():
    run = {
        "arch": "evolution_v2",
        "dataset": "mnist",
        "seed": 9,
        "norm": "layer",
        "select_on": "val",
        "folds": 4,
    }
    recipe = {"epochs": 7, "batch_size": 17, "learning_rate": 0.3, "weight_decay": 0.25, "dropout": 0.125}
    config = checked_config({}, run | recipe)
    assert run.keys() == set(RUN_OPTIONS)
    assert recipe.keys() == set(RECIPE_OPTIONS)
    assert {name: getattr(config, name) for name in RUN_OPTIONS} == run
    assert {name: getattr(config.recipe, name) for name in RECIPE_OPTIONS} == recipe


def test_levers_are_read_from_a_file():
    values = {
        "schedule": {"end_divisor": 100},
        "plateau": None,
        "averaging": {"decay": 0.99},
        "nesterov": True,
    }
    values |= {"augmentation": {"interpolation": "bilinear", "rotation_fill": 0, "fade": 0.3}}
    recipe = run_config({"recipe": values}).recipe
    assert recipe.schedule == Schedule(end_divisor=100.0)
    assert recipe.averaging == Averaging(0.99)
    assert (recipe.augmentation.interpolation, recipe.augmentation.fade, recipe.augmentation.rotation) == (
        "bilinear",
        0.3,
        8.0,
    )
    assert recipe.name == "third-modified"


def test_a_recipe_s_dropout_replaces_the_network_s():
    rates = [
        fields_of(run_config(values))["dropout"]
        for values in (
            {"arch": "third"},
            {"arch": "third", "recipe": "flagship"},
            {"arch": "third", "recipe": {"name": "third", "dropout": 0.2}},
        )
    ]
    assert rates == [0.03, 0.0, 0.2]
    with pytest.raises(UsageError, match=r"dropout=1\.0, which must be at least 0 and below 1"):
        run_config({"recipe": {"name": "third", "dropout": 1.0}})
