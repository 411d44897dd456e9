"""The published figures agree with each other and with the means quoted elsewhere."""

import pytest

from jaxmnist.config import RECIPES
from jaxmnist.models import ARCHS
from jaxmnist.runs.published import PUBLISHED, Published, published


def named(system: str) -> Published:
    (found,) = (entry for entry in PUBLISHED if entry.system == system)
    return found


def test_there_are_thirteen_systems_of_twelve_networks_by_existing_recipes():
    assert len({entry.system for entry in PUBLISHED}) == 13
    assert len({entry.arch for entry in PUBLISHED}) == 12
    assert {entry.recipe for entry in PUBLISHED} == set(RECIPES) - {
        *("flagship", "fast", "sprint", "dash", "tiny"),
        "evolution_one_cycle",
    }
    assert {entry.arch for entry in PUBLISHED} == {arch for arch in ARCHS if not arch.startswith("flagship")}


@pytest.mark.parametrize("entry", PUBLISHED, ids=lambda entry: entry.system)
def test_a_system_is_found_by_its_network_and_recipe(entry):
    assert published(entry.arch, entry.recipe) is entry


def test_step2_is_the_network_of_step3_by_the_recipe_of_step1():
    step2 = published("step3", "step1")
    assert step2 is not None
    assert (step2.system, step2.parameters, step2.best_test_accuracy) == ("step2", 7_216, 99.28)


@pytest.mark.parametrize(
    ("arch", "recipe"), [("first", "second"), ("third", "third-modified"), ("step2", "step2"), ("", "")]
)
def test_what_nobody_published_is_not_found(arch, recipe):
    assert published(arch, recipe) is None


@pytest.mark.parametrize(
    ("system", "mean"),
    [("first", 99.36), ("second", 99.04), ("third", 99.37), ("dilated", 99.53), ("step3", 99.35)],
)
def test_last_five_means_are_those_quoted(system, mean):
    assert round(named(system).last_five_mean or 0.0, 2) == mean


def test_a_log_is_that_of_the_source_in_all_its_counts():
    sums = {entry.system: sum(entry.correct) for entry in PUBLISHED}
    assert sums == {
        "first": 148_753,
        "second": 147_988,
        "third": 148_634,
        "dilated": 148_872,
        "evolution_v1": 0,
        "evolution_v2": 59_326,
        "evolution_v3": 59_611,
        "challenge_ll": 49_632,
        "challenge_gap": 49_630,
        "challenge_final": 49_686,
        "step1": 144_311,
        "step2": 148_326,
        "step3": 148_630,
    }


@pytest.mark.parametrize("entry", PUBLISHED, ids=lambda entry: entry.system)
def test_a_log_ends_with_epoch_15_and_has_the_last_five(entry):
    if entry.system == "evolution_v1":
        assert (entry.epochs, entry.last_five_mean, entry.best_test_epoch) == ((), None, None)
    else:
        assert entry.epochs[-1] == 15
        assert len(entry.epochs) == len(entry.test_accuracies) >= 5


@pytest.mark.parametrize(
    ("system", "accuracy", "epoch"),
    [
        ("first", 99.50, 12),
        ("second", 99.08, 9),
        ("third", 99.43, 14),
        ("dilated", 99.55, 13),
        ("evolution_v3", 99.37, 13),
        ("challenge_ll", 99.36, 15),
        ("challenge_gap", 99.36, 13),
        ("challenge_final", 99.40, 12),
        ("step1", 99.20, 11),
        ("step2", 99.28, 15),
        ("step3", 99.45, 15),
    ],
)
def test_the_best_of_the_counts_is_the_stated_best_in_the_stated_epoch(system, accuracy, epoch):
    entry = named(system)
    assert max(entry.test_accuracies) == entry.best_test_accuracy == accuracy
    assert entry.best_test_epoch == epoch


def test_the_best_epoch_of_evolution_v2_is_not_in_the_published_part_of_its_log():
    entry = named("evolution_v2")
    assert entry.best_test_accuracy == 98.92 > max(entry.test_accuracies)
    assert entry.best_test_epoch is None
