"""`--set FIELD=VALUE`: every recipe field can be set, and a mistyped one is answered with the nearest."""

import dataclasses
import json
import typing
from typing import Any, Literal

import pytest

from jaxmnist.config import get_recipe
from jaxmnist.config.changes import changed_recipe
from jaxmnist.config.run import merge_options, run_config
from jaxmnist.config.settings import choices_of, field_types, nested, parse_settings
from jaxmnist.errors import UsageError

# Settings that come first, as the recipe lacks these parts.
PARTS = {
    "schedule": ("plateau=null", "schedule={}"),
    "averaging": ("averaging={}",),
    "rate_range": ("rate_range={}",),
    "distillation": ("distillation.teacher=somewhere",),
    "augmentation": ("augmentation.rotation_fill=0",),
}
EXAMPLES = {bool: (True, False), int: (3, 2, 0), float: (0.25, 3.0), str: ("elsewhere",), type(None): (None,)}


def value_of(recipe, field):
    for name in field.split("."):
        recipe = getattr(recipe, name)
    return recipe


def examples(wanted: Any) -> list[Any]:
    """Values of a field's types, including some that the recipe refuses."""
    values = []
    for choice in choices_of(wanted):
        values += typing.get_args(choice) if typing.get_origin(choice) is Literal else EXAMPLES[choice]
    return values


@pytest.mark.parametrize("field", field_types())
def test_every_field_of_a_recipe_can_be_set_false_and_null_included(field):
    part = field.partition(".")[0]
    brought = PARTS.get(part, ()) if "." in field else ()
    base = changed_recipe(get_recipe("third"), parse_settings(brought))
    taken, refusals = [], []
    for value in examples(field_types()[field]):
        text = value if isinstance(value, str) else json.dumps(value)
        settings = [setting for setting in brought if not setting.startswith(f"{field}=")]
        try:
            recipe = changed_recipe(get_recipe("third"), parse_settings([*settings, f"{field}={text}"]))
        except UsageError as error:
            refusals.append(str(error))
        else:
            assert value_of(recipe, field) == value
            taken.append(value)
    assert all("must be" in refusal for refusal in refusals), "an example was refused for more than its range"
    assert any(value != value_of(base, field) for value in taken), f"no example changes {field}"
    kinds = choices_of(field_types()[field])
    assert type(None) not in kinds or None in taken
    assert bool not in kinds or False in taken


def test_a_part_is_taken_away_by_null_and_brought_by_an_object():
    recipe = changed_recipe(
        get_recipe("third"), parse_settings(["plateau=null", 'schedule={"kind": "linear"}'])
    )
    assert recipe.plateau is None
    assert recipe.schedule is not None
    assert recipe.schedule.kind == "linear"


def test_changes_without_a_name_are_to_the_given_recipe_whatever_it_is_called():
    short = dataclasses.replace(get_recipe("fast"), epochs=1)
    recipe = changed_recipe(short, {"learning_rate": 0.2})
    assert recipe == dataclasses.replace(short, name="fast-modified", learning_rate=0.2)
    assert changed_recipe(short, {"name": "fast", "learning_rate": 0.2}).epochs == get_recipe("fast").epochs


def test_dotted_names_mean_the_same_in_python_and_in_a_file():
    dotted = {"name": "third", "augmentation.rotation": 5, "plateau.patience": 1}
    assert nested(dotted) == {"name": "third", "augmentation": {"rotation": 5}, "plateau": {"patience": 1}}
    assert run_config({"recipe": dotted}) == run_config({"recipe": nested(dotted)})
    merged = merge_options({"recipe": dotted}, {}, None, {}, parse_settings(["augmentation.shear=2"]))
    augmentation = run_config(merged).recipe.augmentation
    assert (augmentation.rotation, augmentation.shear) == (5.0, 2.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["epohs=3"], r"there is no recipe field 'epohs' \(did you mean 'epochs'\?\)"),
        (["augmentation.rotaton=3"], r"did you mean 'augmentation\.rotation'"),
        (["epochs"], "--set epochs has no value; write --set epochs=VALUE"),
        (["epochs=2", "epochs=3"], "--set gives epochs twice"),
        (["name=mine"], "--set name is chosen with --recipe"),
        (["epochs=1.5"], r"recipe\.epochs is 1\.5, which must be a whole number"),
        (["deskew=yes"], r'recipe\.deskew is "yes", which must be true or false'),
        (["learning_rate=NaN"], r'recipe\.learning_rate is "NaN", which must be a number'),
        (["augmentation=3"], r"recipe\.augmentation is 3, which must be an object"),
        (["decay_on=biases"], "must be 'everything' or 'kernels'"),
    ],
)
def test_a_wrong_setting_is_named_with_what_would_be_right(settings, message):
    with pytest.raises(UsageError, match=message):
        changed_recipe(get_recipe("third"), parse_settings(settings))


def test_an_option_and_a_setting_of_one_field_contradict():
    with pytest.raises(UsageError, match="--set batch_size and --batch-size set the same field"):
        merge_options({}, {}, None, {"batch_size": 3}, {"batch_size": 4})
