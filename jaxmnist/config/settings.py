"""Settings in words, `FIELD=VALUE`, as `--set` and `sweep --over` take them: recipe fields and their values."""

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from jaxmnist.config.recipe import Recipe
from jaxmnist.errors import UsageError, unknown_name

_BY_OTHER_OPTIONS = {"name": "--recipe"}


@functools.cache
def field_types() -> Mapping[str, Any]:
    """Returns the type of every recipe field, with a dot before the field of a part: `augmentation.rotation`."""
    return dict(_leaves(Recipe, ""))


def choices_of(wanted: object) -> tuple[Any, ...]:
    """Returns the types that a union allows, or the one type."""
    is_union = typing.get_origin(wanted) in (types.UnionType, typing.Union)
    return typing.get_args(wanted) if is_union else (wanted,)


def parse_settings(texts: Iterable[str]) -> dict[str, Any]:
    """Parses settings into changes of a recipe, as a configuration file has them: parts are objects.

    Args:
        texts: such as `epochs=5`, `deskew=false`, `augmentation.rotation=5` or `plateau=null`.

    Raises:
        UsageError: a text is no `FIELD=VALUE`, a field is unknown, which is answered with the nearest one, or set
            twice.
    """
    changes: dict[str, Any] = {}
    for text in texts:
        field, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {text} has no value; write --set {text}=VALUE.")
        require_field("--set", field, parts=True)
        if field in changes:
            raise UsageError(f"--set gives {field} twice; give it once.")
        changes[field] = parse_value(field, value)
    return nested(changes)


def require_field(option: str, field: str, parts: bool = False) -> None:
    """Checks that a recipe has a field.

    Args:
        option: the option that names it, for the message.
        field: its name.
        parts: whether a whole part, `augmentation`, counts as a field.

    Raises:
        UsageError: it has not; the nearest one is named.
    """
    if field in _BY_OTHER_OPTIONS:
        raise UsageError(f"{option} {field} is chosen with {_BY_OTHER_OPTIONS[field]}; use that option.")
    known = field_types()
    inner = [name for name in known if name.startswith(f"{field}.")]
    if inner and not parts:
        raise UsageError(f"{option} {field} has parts; name one of {', '.join(inner)}.")
    if field not in known and not inner:
        raise unknown_name("recipe field", field, known)


def parse_value(field: str, text: str) -> object:
    """Parses a value as JSON; text that is not JSON is a string, as is any text for a field that holds strings."""
    if str in choices_of(field_types().get(field)) and text != "null":
        return text
    try:
        return json.loads(text, parse_constant=str)
    except ValueError:
        return text


def nested(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Turns dotted names into objects: `{"a.b": 1}` becomes `{"a": {"b": 1}}`."""
    result: dict[str, Any] = {}
    for name, value in changes.items():
        part, dot, field = name.partition(".")
        inner = nested({field: value}) if dot else value
        present = result.get(part)
        result[part] = (
            {**present, **inner} if isinstance(present, dict) and isinstance(inner, dict) else inner
        )
    return result


def _leaves(part: object, place: str) -> list[tuple[str, Any]]:
    leaves = []
    for name, wanted in typing.get_type_hints(part).items():
        inner = next((one for one in choices_of(wanted) if dataclasses.is_dataclass(one)), None)
        if inner is not None:
            leaves += _leaves(inner, f"{place}{name}.")
        elif place or name not in _BY_OTHER_OPTIONS:
            leaves.append((f"{place}{name}", wanted))
    return leaves
