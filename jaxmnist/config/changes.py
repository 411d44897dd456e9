"""Changes to recipes: of some fields by name, or of the whole course of the rate."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from jaxmnist.config.parsing import updated
from jaxmnist.config.recipe import Recipe
from jaxmnist.config.recipes import RECIPES, get_recipe
from jaxmnist.config.settings import nested


def modified(recipe: Recipe, **changes: Any) -> Recipe:
    """Returns a recipe with other values in some fields; one that is known by its name is renamed."""
    return _renamed(dataclasses.replace(recipe, **changes))


def changed_recipe(base: Recipe, changes: object) -> Recipe:
    """Returns the recipe of a name, or a recipe with changes.

    A recipe that differs from the known one of its name is renamed to `<name>-modified`.

    Args:
        base: recipe to change if the changes name none.
        changes: name of a recipe, or an object of fields to change, which may include `name`.

    Raises:
        UsageError: there is no such recipe or field, or a value has the wrong type or is out of range.
    """
    if isinstance(changes, str):
        return get_recipe(changes)
    if isinstance(changes, Mapping):
        changes = nested(changes)
    named = changes.get("name") if isinstance(changes, Mapping) else None
    return _renamed(updated(get_recipe(named) if named in RECIPES else base, changes, "recipe"))


def with_schedule(recipe: object, kind: Literal["constant", "one_cycle", "linear", "step"]) -> object:
    """Replaces the schedule and the plateau of a recipe, given by name or as an object of a configuration file."""
    chosen = {"name": recipe} if isinstance(recipe, str) else recipe
    if not isinstance(chosen, Mapping):
        return recipe
    schedule = {"kind": kind} if kind != "constant" else None
    return merged(chosen, {"plateau": None, "schedule": schedule})


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merges changes into an object and into the objects within (RFC 7396, except that null is a value)."""
    result = dict(values)
    for name, change in changes.items():
        present = result.get(name)
        if isinstance(present, Mapping) and isinstance(change, Mapping):
            change = merged(present, change)
        result[name] = change
    return result


def _renamed(recipe: Recipe) -> Recipe:
    if recipe.name in RECIPES and recipe != get_recipe(recipe.name):
        return dataclasses.replace(recipe, name=f"{recipe.name}-modified")
    return recipe
