"""Settings as text, `FIELD=VALUE`: the recipe fields and values of `--set` and `sweep --over`."""

import dataclasses
import functools
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from jaxmnist.config.parsing import choices_of
from jaxmnist.config.recipe import Recipe
from jaxmnist.errors import UsageError, unknown_name
from jaxmnist.runtime.reading import parse_json


@functools.cache
def field_types() -> Mapping[str, Any]:
    """Returns the type of every recipe field, with a dot before the field of a part: `augmentation.rotation`."""
    return dict(_leaves(Recipe, ""))


def parse_settings(texts: Iterable[str]) -> dict[str, Any]:
    """Parses settings into changes of a recipe, in the form of a configuration file: parts are objects.

    Args:
        texts: settings such as `epochs=5`, `deskew=false`, `augmentation.rotation=5` or `plateau=null`.

    Raises:
        UsageError: a text is not `FIELD=VALUE`, or a field is unknown (the message names the nearest one) or set twice.
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
        option: the option that names the field, for the message.
        field: name of the field.
        parts: True to accept a whole part, such as `augmentation`.

    Raises:
        UsageError: there is no such field; the message names the nearest one.
    """
    if field == "name":
        raise UsageError(f"{option} name is chosen with --recipe; use that option.")
    known = field_types()
    inner = [name for name in known if name.startswith(f"{field}.")]
    if inner and not parts:
        raise UsageError(f"{option} {field} has parts; name one of {', '.join(inner)}.")
    if field not in known and not inner:
        raise unknown_name("recipe field", field, known)


def parse_value(field: str, text: str) -> object:
    """Parses a value as JSON. Text that is not JSON is a string, as is any text for a field that holds strings."""
    if str in choices_of(field_types().get(field)) and text != "null":
        return text
    try:
        return parse_json(text)
    except ValueError:
        return text


def nested(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Turns dotted names into objects: `{"a.b": 1}` becomes `{"a": {"b": 1}}`."""
    result: dict[str, Any] = {}
    for name, value in changes.items():
        part, dot, field = name.partition(".")
        inner = nested({field: value}) if dot else value
        present = result.get(part)
        if isinstance(present, dict) and isinstance(inner, dict):
            inner = {**present, **inner}
        result[part] = inner
    return result


def _leaves(part: object, place: str) -> list[tuple[str, Any]]:
    leaves = []
    for name, wanted in typing.get_type_hints(part).items():
        inner = next((one for one in choices_of(wanted) if dataclasses.is_dataclass(one)), None)
        if inner is not None:
            leaves += _leaves(inner, f"{place}{name}.")
        elif place or name != "name":
            leaves.append((f"{place}{name}", wanted))
    return leaves
