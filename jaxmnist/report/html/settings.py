"""What was asked for and where it ran, for a page: configuration and environment of a run, or how those differ."""

import shlex
from collections.abc import Sequence
from typing import Any

from jaxmnist.config import Recipe
from jaxmnist.report.facts import (
    RunFacts,
    beside,
    differences,
    flat_environment,
    published_settings,
    settings,
    settings_of,
)
from jaxmnist.report.html.elements import Child, Html, element, joined, table
from jaxmnist.report.html.evaluation import plural

_NONE = "-"


def configuration(facts: RunFacts) -> Html | None:
    """All settings that have an effect, with a mark at those that are not as published; None where none are known."""
    if facts.config is None:
        return None
    ours, theirs = settings(facts.config), published_settings(facts.config)
    if theirs is not None:
        ours, theirs = beside(ours, theirs)
    rows, classes = [], []
    for name, value in ours.items():
        changed = theirs is not None and name != "recipe.name" and value != theirs.get(name)
        if not changed and not _matters(name, value, facts.config.recipe):
            continue
        mark: Child = ""
        if changed and theirs:
            mark = element("strong", "published: ", _shown(theirs.get(name)))
        text = _shown(value)[:12] if name == "data_fingerprint" else _shown(value)
        rows.append((_setting_name(name), joined(element("code", text), mark)))
        classes.append("changed" if changed else None)
    count = sum(1 for mark in classes if mark)
    about = (
        "The recipe is none of the published ones."
        if theirs is None
        else f"{plural(count, 'setting')} of the published recipe and protocol {'is' if count == 1 else 'are'} changed."
        if count
        else "All is as published."
    )
    body = table(("setting", "value"), rows, caption="Configuration", class_="settings", row_classes=classes)
    return joined(element("p", about), body)


def environment(facts: RunFacts) -> Html | None:
    """Versions, machine, device, revision and command; None where they were not kept."""
    values = flat_environment(facts)
    if not values:
        return None
    rows = [
        (name.removeprefix("packages.").replace("_", " "), element("code", _shown(value)))
        for name, value in values.items()
    ]
    return table(("what", "value"), rows, caption="Where it ran, and with what", class_="settings")


def what_differs(found: Sequence[RunFacts], names: Sequence[str]) -> Html:
    """Settings and environment of several runs, as far as they are not the same."""
    parts = []
    for caption, per_run, nothing in (
        ("Configuration", [settings_of(facts) for facts in found], "The configurations are the same."),
        ("Environment", [flat_environment(facts) for facts in found if facts.environment], ""),
    ):
        differing = {name: values for name, values in differences(per_run).items() if name != "command"}
        columns = (
            names
            if caption == "Configuration"
            else [name for facts, name in zip(found, names, strict=True) if facts.environment]
        )
        rows = [
            (
                _setting_name(name).removeprefix("packages: "),
                *(
                    element("code", _shown(value)[:12] if name == "data_fingerprint" else _shown(value))
                    for value in values
                ),
            )
            for name, values in differing.items()
        ]
        if rows:
            parts.append(
                table(
                    (caption.lower(), *columns),
                    rows,
                    caption=f"{caption}: what differs",
                    class_="settings differences",
                )
            )
        elif nothing:
            parts.append(element("p", nothing))
    return joined(
        *parts, element("p", "All that is not listed is the same.", class_="small") if parts else ""
    )


def _matters(name: str, value: Any, recipe: Recipe) -> bool:
    """Whether a setting has an effect: a change of images that is switched off has none, nor have its details."""
    if name in ("recipe.momentum", "recipe.nesterov"):
        return recipe.optimizer == "sgd"
    if name == "recipe.decay_on":
        return recipe.weight_decay > 0
    if name.startswith("recipe.augmentation."):
        return name.rpartition(".")[2] in recipe.augmentation.in_effect
    return value is not None


def _shown(value: Any) -> str:
    """A value of a configuration, for people."""
    if value is None:
        return _NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {_shown(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return shlex.join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _setting_name(name: str) -> str:
    """A setting's name, for people."""
    return (
        name.removeprefix("recipe.").replace(".", ": ").replace("_", " ")
        if name != "recipe.name"
        else "recipe"
    )
