"""Settings for a page: the configuration beside the published one, and the differences of several runs."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxmnist.config import Recipe
from jaxmnist.report.facts import RunFacts, differences, published_settings, side_by_side
from jaxmnist.runs.compare import MISSING


class Setting(NamedTuple):
    """A setting as text."""

    name: str
    value: str
    published: str | None
    """The published value; None if it is the same or if there is none."""


def configuration(run: RunFacts) -> list[Setting]:
    """Lists the settings that have an effect, and those that differ from the published ones."""
    if run.config is None:
        return []
    theirs = published_settings(run.config)
    table = side_by_side([run.settings(), theirs or run.settings()])
    settings = []
    for name, (ours, published) in table.items():
        changed = name != "recipe.name" and ours != published
        if changed or _has_effect(name, ours, run.config.recipe):
            settings.append(Setting(_spoken(name), _text(ours, name), _text(published) if changed else None))
    return settings


def environment(run: RunFacts) -> dict[str, str]:
    """Lists versions, machine, device, revision and command of a run."""
    return {_spoken(name): _text(value) for name, (value,) in side_by_side([run.environment]).items()}


def differing(per_run: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Lists the settings that differ, by name, with a text for each run."""
    return {
        _spoken(name): [_text(value, name) for value in values]
        for name, values in differences(per_run).items()
        if name != "command"
    }


def _text(value: object, name: str = "") -> str:
    if value in (None, ""):
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {_text(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return shlex.join(map(str, value))
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)[:12] if name.endswith("fingerprint") else str(value)


def _spoken(name: str) -> str:
    if name == "recipe.name":
        return "recipe"
    return name.removeprefix("recipe.").removeprefix("packages.").replace(".", ": ").replace("_", " ")


def _has_effect(name: str, value: object, recipe: Recipe) -> bool:
    if name in ("recipe.momentum", "recipe.nesterov"):
        return recipe.optimizer == "sgd"
    if name == "recipe.decay_on":
        return recipe.weight_decay > 0
    if name.startswith("recipe.augmentation."):
        return name.rpartition(".")[2] in recipe.augmentation.in_effect
    return value not in (None, "")
