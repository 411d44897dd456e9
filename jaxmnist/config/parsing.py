"""JSON values merged into frozen dataclasses, with every type checked."""

import dataclasses
import json
import sys
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from jaxmnist.errors import UsageError, shortened, unknown_key

_T = TypeVar("_T")


def updated(base: _T, changes: object, place: str = "") -> _T:
    """Merges the changes of a JSON object into a frozen dataclass.

    Args:
        base: the dataclass.
        changes: the object; its keys are some of the fields.
        place: name of the object within the file, for error messages.

    Raises:
        UsageError: a key is unknown (the message names the nearest one), or a value has the wrong type.
    """
    if not isinstance(changes, Mapping):
        raise UsageError(f"{place or 'the configuration'} is {shown(changes)}, which must be a JSON object.")
    types_of = typing.get_type_hints(type(base))
    values = {}
    for key, value in changes.items():
        if key not in types_of:
            raise unknown_key(place or "the configuration", key, types_of)
        path = f"{place}.{key}" if place else key
        values[key] = _value(types_of[key], getattr(base, key), value, path)
    return dataclasses.replace(base, **values)  # pyright: ignore[reportArgumentType, reportCallIssue]


def parsed(kind: type[_T], values: Mapping[str, Any]) -> _T:
    """Makes a dataclass from a JSON object that has all of its fields; other keys are ignored.

    Raises:
        UsageError: a field is missing, or its value has the wrong type.
    """
    types_of = typing.get_type_hints(kind)
    if missing := [name for name in types_of if name not in values]:
        raise UsageError(f"it has no {missing[0]}.")
    return kind(**{name: _value(wanted, None, values[name], name) for name, wanted in types_of.items()})


def choices_of(wanted: object) -> tuple[Any, ...]:
    """Returns the types that a union allows, or the one type."""
    is_union = typing.get_origin(wanted) in (types.UnionType, typing.Union)
    return typing.get_args(wanted) if is_union else (wanted,)


def shown(value: object) -> str:
    """Returns a value as error messages quote it."""
    try:
        return shortened(json.dumps(value))
    except RecursionError:
        return "nested too deeply"


_WORDS = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}


def _value(wanted: object, current: object, value: object, path: str) -> object:
    """Returns a JSON value as the type of a field, or raises an error that names the allowed types."""
    words = []
    for choice in choices_of(wanted):
        if isinstance(choice, type) and dataclasses.is_dataclass(choice):
            if isinstance(value, Mapping):
                return updated(choice() if current is None else current, value, path)
            words.append("an object")
        elif typing.get_origin(choice) is Literal:
            if value in typing.get_args(choice):
                return value
            words += map(repr, typing.get_args(choice))
        elif choice is float and isinstance(value, int | float) and not isinstance(value, bool):
            if abs(value) > sys.float_info.max:
                raise UsageError(f"{path} is {shown(value)}, which is too large for a number.")
            return float(value)
        elif type(value) is choice:
            if isinstance(value, int) and abs(value) >= 2**63:
                raise UsageError(f"{path} is {shown(value)}, which is too large for a whole number.")
            return value
        else:
            words.append(_WORDS[choice])
    raise UsageError(f"{path} is {shown(value)}, which must be {' or '.join(words)}.")
