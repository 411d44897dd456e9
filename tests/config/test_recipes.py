"""Recipes: equal to the published ones; impossible ones are refused."""

import dataclasses

import pytest

from jaxmnist.config import RECIPES, Augmentation, Averaging, Plateau, Recipe, Schedule, get_recipe, recipe_of
from jaxmnist.config.limits import Limits
from jaxmnist.errors import UsageError
from jaxmnist.models import ARCHS

# Rows of the sources' fact sheet, section 4: batch, optimizer, rate, decay, smoothing, plateau, mean, std, seed.
PUBLISHED = {
    "first": (64, "sgd", 0.01, 0.0, 0.0, None, 0.1307, 0.3081, 1),
    "second": (64, "sgd", 0.01, 0.0, 0.0, None, 0.1307, 0.3081, 1),
    "third": (64, "sgd", 0.01, 0.0, 0.0, ("loss", 0.5, 3, 1e-4, 0.0), 0.1307, 0.3081, 1),
    "dilated": (128, "sgd", 0.104704, 0.0, 0.0, ("loss", 0.1, 1, 0.01, 1e-4), 0.130925, 0.308449, 5),
    "evolution": (128, "adam", 0.02, 1e-4, 0.05, ("accuracy", 0.01, 1, 1e-4, 1e-8), 0.130660, 0.308108, 42),
    "challenge": (32, "adamw", 0.001, 1e-4, 0.0, ("loss", 0.5, 3, 1e-4, 1e-6), 0.1307, 0.3081, 1),
    "step1": (128, "sgd", 0.01, 0.0, 0.0, None, 0.1307, 0.3081, 1),
    "step3": (128, "sgd", 0.01, 0.0, 0.0, ("loss", 0.1, 2, 1e-4, 0.0), 0.1307, 0.3081, 1),
}
FIRST = {"rotation": 8.0, "rotation_fill": 1, "translation": 0.1}
AUGMENTATIONS = {
    "first": FIRST,
    "second": FIRST,
    "third": FIRST,
    "dilated": {"perspective": 0.2, "perspective_probability": 0.5, "rotation": 15.0},
    "evolution": {
        "rotation": 7.0,
        "translation": 0.1,
        "scale": 0.15,
        "shear": 10.0,
        "elastic": 10.0,
        "elastic_sigma": 3.0,
    },
    "challenge": {"rotation": 7.0, "rotation_fill": 1},
    "step1": {},
    "step3": {"rotation": 7.0, "rotation_fill": 1},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_recipe_is_exactly_as_published(name):
    recipe = get_recipe(name)
    batch, optimizer, rate, decay, smoothing, plateau, mean, std, seed = PUBLISHED[name]
    assert (recipe.epochs, recipe.batch_size, recipe.momentum) == (15, batch, 0.9)
    assert (recipe.optimizer, recipe.learning_rate) == (optimizer, rate)
    assert (recipe.weight_decay, recipe.label_smoothing) == (decay, smoothing)
    assert recipe.plateau == (plateau and Plateau(*plateau))
    assert (recipe.mean, recipe.std, recipe.default_seed) == (mean, std, seed)
    assert recipe.augmentation == Augmentation(**AUGMENTATIONS[name])
    assert recipe.repeat_epochs == (name == "evolution")
    assert (recipe.best_model, recipe.ignored_epochs) == ((99.3, 3) if name == "dilated" else (0.0, 0))


def test_every_arch_has_its_family_s_recipe():
    families = {arch: recipe_of(arch).name for arch in ARCHS}
    assert families["evolution_v1"] == families["evolution_v3"] == "evolution"
    assert families["challenge_ll"] == families["challenge_final"] == "challenge"
    own = ("first", "second", "third", "dilated", "step1", "step3")
    assert all(families[arch] == arch for arch in own)
    assert {families[arch] for arch in ("flagship", "flagship_small", "flagship_2500")} == {"flagship"}
    assert {families[f"flagship_{size}"] for size in (1500, 1000, 850, 500)} == {"tiny"}
    assert len(families) == 19


def test_the_project_s_own_recipes_look_at_nothing_and_use_no_dropout():
    assert set(RECIPES) - set(PUBLISHED) == {
        *("flagship", "fast", "sprint", "dash", "tiny"),
        "evolution_one_cycle",
    }
    flagship = get_recipe("flagship")
    assert (flagship.plateau, flagship.schedule, flagship.dropout) == (None, Schedule("one_cycle"), 0.0)
    assert flagship.epochs == 15
    for name, epochs in {"fast": 5, "sprint": 3, "dash": 1}.items():
        assert get_recipe(name) == dataclasses.replace(flagship, name=name, epochs=epochs, tilt=0.0)
    assert (flagship.tilt, flagship.views, get_recipe("fast").views) == (15.0, 3, 1)


def test_the_recipe_of_the_smallest_networks_regularises_less_trains_longer_and_rescales():
    tiny, flagship = get_recipe("tiny"), get_recipe("flagship")
    assert (tiny.epochs, tiny.learning_rate, tiny.weight_decay) == (40, 0.2, 0.0)
    changed = ("name", "epochs", "learning_rate", "weight_decay", "rescale", "tilt", "augmentation")
    assert dataclasses.replace(tiny, **{name: getattr(flagship, name) for name in changed}) == flagship


def test_the_steps_of_a_training_count_its_partial_batches():
    recipe = Recipe("r", epochs=3, batch_size=64)
    assert [recipe.total_steps(images) for images in (1, 64, 65, 60_000)] == [3, 3, 6, 2_814]


def test_limits_include_exactly_the_ends_that_they_name():
    limits = Limits(above=0, at_most=2), Limits(at_least=0, below=2)
    assert [[one.allow(value) for value in (0, 1, 2)] for one in limits] == [
        [False, True, True],
        [True, True, False],
    ]


def test_an_unknown_recipe_is_answered_with_the_names_that_exist():
    with pytest.raises(UsageError, match=r"'thurd' \(did you mean 'third'\?\); choose one of first"):
        get_recipe("thurd")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rotation", -1.0),
        ("scale", 1.0),
        ("rotation_fill", 256),
        ("perspective", 2.0),
        ("elastic_sigma", 0.0),
    ],
)
def test_an_impossible_augmentation_is_refused(field, value):
    with pytest.raises(UsageError, match=f"{field}={value}, which must be from"):
        Augmentation(**{field: value})


@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("epochs", 0, "above 0"),
        ("batch_size", -1, "above 0"),
        ("learning_rate", 0.0, "above 0"),
        ("std", float("nan"), "above 0"),
        ("weight_decay", -1e-4, "at least 0"),
        ("label_smoothing", 1.0, "at least 0 and below 1"),
        ("momentum", float("nan"), "at least 0 and below 1"),
        ("best_model", 101.0, "from 0 to 100"),
    ],
)
def test_a_recipe_with_an_impossible_value_is_refused(field, value, wanted):
    with pytest.raises(UsageError, match=f"{field}={value}, which must be {wanted}"):
        dataclasses.replace(get_recipe("third"), **{field: value})


@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("learning_rate", float("inf"), "above 0 and finite"),
        ("mean", float("nan"), "finite"),
        ("epochs", 1_000_001, "above 0 and at most 1,000,000"),
        ("batch_size", 65_537, "above 0 and at most 65,536"),
    ],
)
def test_a_recipe_that_no_machine_could_follow_is_refused(field, value, wanted):
    with pytest.raises(UsageError, match=f"{field}={value}, which must be {wanted}"):
        Recipe("r", **{field: value})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"schedule": Schedule()},
            "'third' has a schedule and a plateau, which both set the learning rate",
        ),
        (
            {"optimizer": "adam", "nesterov": True},
            "nesterov=True, which must be false without the momentum of sgd",
        ),
        (
            {"momentum": 0.0, "nesterov": True},
            "nesterov=True, which must be false without the momentum of sgd",
        ),
        (
            {"averaging": Averaging(start_epoch=15)},
            "starts averaging after 15 epochs, which must be fewer than",
        ),
    ],
)
def test_levers_that_contradict_each_other_are_refused(change, sentence):
    with pytest.raises(UsageError, match=sentence):
        dataclasses.replace(get_recipe("third"), **change)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Schedule(warm_up=1.0), "warm_up=1.0, which must be at least 0 and below 1"),
        (lambda: Schedule(start_divisor=0.5), "start_divisor=0.5, which must be from 1"),
        (lambda: Averaging(decay=1.0), "decay=1.0, which must be at least 0 and below 1"),
        (lambda: Averaging(start_epoch=-1), "start_epoch=-1, which must be at least 0"),
        (
            lambda: Augmentation(rotation_fill=1, interpolation="bilinear"),
            "rotation_fill=1, which must be 0 with",
        ),
    ],
)
def test_a_lever_with_an_impossible_value_is_refused(make, sentence):
    with pytest.raises(UsageError, match=sentence):
        make()
