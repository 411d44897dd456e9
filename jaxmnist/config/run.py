"""The configuration of a run, and how it is read from JSON and options.

A configuration file changes what it names and leaves the rest: objects within objects are merged (RFC 7396),
so `{"recipe": {"name": "third", "plateau": {"patience": 1}}}` is the recipe `third` with another patience. The
`config.json` of a run names everything, and so repeats it.
"""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int32

from jaxmnist.config.parsing import read_json, shown, updated
from jaxmnist.config.recipe import Recipe
from jaxmnist.config.recipes import RECIPES, get_recipe, recipe_of
from jaxmnist.config.settings import nested
from jaxmnist.data.splits import LAST_TWELFTH, SelectOn, Split, split_indices
from jaxmnist.errors import UsageError, shortened, unknown_name
from jaxmnist.models import ARCHS, Model, absolute_arch, create_model, is_custom

_MOST_FOLDS = 100
_RECIPE_NAME = re.compile(r"[\w.+-]{1,100}")  # becomes part of the run folder's name


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Everything that decides the outcome of a run besides the data themselves."""

    arch: str
    """Name of the network; for a class of the user's own, the place it is loaded from."""
    recipe: Recipe
    dataset: str
    seed: int
    select_on: SelectOn
    """Split that drives the schedule and the choice of the best checkpoint; with `last` nothing does, and the
    last epoch's weights are the run's."""
    data_fingerprint: str
    """SHA-256 of the images and labels."""
    norm: Literal["batch", "layer", "group"] | None = None
    """Normalisation in place of the network's own, for networks with a choice."""
    folds: int | None = None
    """Number of equal parts that the training images are divided into, one of which is `val`: the last for seed 1, the
    one before it for seed 2, and so on. Without folds `val` is the last twelfth for every seed."""
    arch_fingerprint: str = ""
    """SHA-256 of the file that defines the network, for a class of the user's own."""

    def __post_init__(self) -> None:
        if self.folds is not None:
            if not 2 <= self.folds <= _MOST_FOLDS:
                raise UsageError(f"folds is {self.folds}, which must be from 2 to {_MOST_FOLDS}.")
            if self.select_on != "val":
                raise UsageError(
                    f"folds hold out training images, and --select-on {self.select_on} holds out none; leave out "
                    "one of them."
                )
        if self.select_on == "last" and self.recipe.plateau is not None:
            raise UsageError(
                f"recipe {self.recipe.name!r} cuts its learning rate by a plateau schedule, which has nothing to look "
                "at with --select-on last; add --schedule one_cycle, linear or constant, or select on val or test."
            )
        # Those beyond would be cut to 32 bits: two seeds with one outcome.
        if not 0 <= self.seed < 2**32:
            raise UsageError(f"seed is {shortened(str(self.seed))}, which must be from 0 to 4294967295.")

    @property
    def held_out(self) -> tuple[int, int]:
        """Number of the part of the training images that is held out as `val`, and the number of parts."""
        return LAST_TWELFTH if self.folds is None else (-self.seed % self.folds, self.folds)

    def splits(self, train_count: int, test_count: int) -> dict[Split, Int32[np.ndarray, " n"]]:
        """Returns the indices of each split's images; see `jaxmnist.data.splits.split_indices`."""
        return split_indices(train_count, test_count, self.select_on, self.held_out)

    def create_model(self) -> Model:
        """Creates the network; see `jaxmnist.models.create_model`.

        Raises:
            UsageError: there is no such arch, or it has no choice of dropout or normalisation.
        """
        chosen = {"dropout": self.recipe.dropout, "norm": self.norm}
        return create_model(self.arch, **{key: value for key, value in chosen.items() if value is not None})


def read_file(path: Path) -> dict[str, Any]:
    """Reads the JSON object of a configuration file; `run_config` checks its content.

    Raises:
        UsageError: the file cannot be read or is no JSON object.
    """
    try:
        values = read_json(path)
    except OSError as error:
        raise UsageError(f"--config {path} cannot be read ({error.strerror}); name a JSON file.") from error
    except ValueError as error:
        raise UsageError(f"--config {path} is not JSON ({error}); correct it there.") from error
    if not isinstance(values, dict):
        raise UsageError(f"--config {path} holds no JSON object; begin it with a brace.")
    return values


def run_config(values: Mapping[str, Any]) -> RunConfig:
    """Makes the configuration from some of its values, with defaults for the rest.

    Args:
        values: fields of `RunConfig`. `recipe` may be a name, or an object that changes fields of the recipe
            it names, by default the arch's own. `environment`, which a run's `config.json` has, is passed over.

    Raises:
        UsageError: a key is unknown, which is answered with the nearest one, or a value is out of range.
    """
    values = {key: value for key, value in values.items() if key != "environment"}
    recipe = values.pop("recipe", {})
    config = updated(RunConfig("third", Recipe(""), "", 0, "val", ""), values)
    if not is_custom(config.arch) and config.arch not in ARCHS:
        raise unknown_name("arch", config.arch, (*ARCHS, "FILE.py:CLASS"))
    recipe = changed_recipe(recipe_of(config.arch), recipe)
    arch = absolute_arch(config.arch)
    return dataclasses.replace(config, arch=arch, recipe=recipe, seed=values.get("seed", recipe.default_seed))


def merge_options(
    values: Mapping[str, Any],
    options: Mapping[str, Any],
    recipe: str | None,
    recipe_options: Mapping[str, Any],
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Overrules the values of a configuration file by the options that were given.

    Args:
        values: contents of the file.
        options: fields of a run's configuration; None is not given.
        recipe: name of a recipe, in place of the file's.
        recipe_options: fields of the recipe, in the same way.
        settings: more fields of the recipe, as `jaxmnist.config.settings.parse_settings` gives them; None is a value.

    Returns:
        Values for `run_config`.

    Raises:
        UsageError: an option and a setting give the same field.
    """
    merged, given, also = dict(values) | _given(options), _given(recipe_options), dict(settings or {})
    if twice := given.keys() & also.keys():
        field = min(twice)
        raise UsageError(
            f"--set {field} and --{field.replace('_', '-')} give one field; leave out one of them."
        )
    chosen = merged.get("recipe", {}) if recipe is None else recipe
    changes = given | also
    if changes and isinstance(chosen, str):
        chosen = {"name": chosen}
    # Anything else that is no object is left for `run_config` to refuse.
    merged["recipe"] = _merged(nested(chosen), changes) if isinstance(chosen, Mapping) else chosen
    return merged


def with_schedule(recipe: object, kind: Literal["constant", "one_cycle", "linear"]) -> object:
    """Replaces the schedule and the plateau of a recipe, given by name or as an object of a configuration file."""
    chosen = {"name": recipe} if isinstance(recipe, str) else recipe
    if not isinstance(chosen, Mapping):
        return recipe
    schedule = {"kind": kind} if kind != "constant" else None
    return _merged(chosen, {"plateau": None, "schedule": schedule})


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merges the changes into an object, and into the objects within (RFC 7396, but null is a value)."""
    merged = dict(values)
    for name, change in changes.items():
        present = merged.get(name)
        if isinstance(present, Mapping) and isinstance(change, Mapping):
            change = _merged(present, change)
        merged[name] = change
    return merged


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def changed_recipe(base: Recipe, changes: object) -> Recipe:
    """Returns a recipe by its name, or with the changes of an object that may name one, by default `base`.

    A recipe that differs from the known one it is named after gets the name `<name>-modified`.

    Raises:
        UsageError: there is no such recipe or field, or a value is of another type or out of range.
    """
    if isinstance(changes, str):
        return get_recipe(changes)
    if isinstance(changes, Mapping):
        changes = nested(changes)
    name = changes.get("name", base.name) if isinstance(changes, Mapping) else base.name
    known = get_recipe(name) if name in RECIPES else base
    recipe = updated(known, changes, "recipe")
    if not _RECIPE_NAME.fullmatch(recipe.name):
        raise UsageError(
            f"recipe.name is {shown(recipe.name)}, which must be up to 100 letters, digits and characters of ._+-."
        )
    if name in RECIPES and recipe != known:
        return dataclasses.replace(recipe, name=f"{name}-modified")
    return recipe
