"""JSON files: read within limits, and merged into frozen dataclasses with every type checked."""

import dataclasses
import json
import math
import sys
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from jaxmnist.errors import UsageError, shortened, unknown_key

_T = TypeVar("_T")

MAX_FILE_BYTES = 2**18
"""A hundred times the size of a run's `config.json`, which holds no lists that grow."""


def read_json(path: Path) -> Any:
    """Reads a small JSON file, which is UTF-8 whatever the locale; all its numbers are finite.

    Raises:
        OSError: it cannot be read.
        ValueError: it is longer than `MAX_FILE_BYTES`, or not JSON.
    """
    with path.open("rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"it has more than {MAX_FILE_BYTES:,} bytes")
    try:
        return json.loads(content.decode(), parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"{shortened(digits)} is too large")
    return value


def updated(base: _T, changes: object, place: str = "") -> _T:
    """Merges the changes of a JSON object into a frozen dataclass.

    Args:
        base: the dataclass.
        changes: the object; its keys are some of the fields.
        place: name of the object within the file, for error messages.

    Raises:
        UsageError: a key is unknown, which is answered with the nearest one, or a value is of another type.
    """
    if not isinstance(changes, Mapping):
        raise UsageError(f"{place or 'the whole'} is {shown(changes)}, which must be a JSON object.")
    types_of = typing.get_type_hints(type(base))
    values = {}
    for key, value in changes.items():
        path = f"{place}.{key}" if place else key
        if key not in types_of:
            raise unknown_key(place or "the configuration", key, types_of)
        values[key] = _value(types_of[key], getattr(base, key), value, path)
    return dataclasses.replace(base, **values)  # pyright: ignore[reportArgumentType, reportCallIssue]


def parsed(kind: type[_T], values: object) -> _T:
    """Makes a dataclass from a JSON object that has all of its fields; other keys are passed over.

    Raises:
        UsageError: a field is missing, or its value is of another type.
    """
    if not isinstance(values, Mapping):
        raise UsageError(f"the whole is {shown(values)}, which must be a JSON object.")
    types_of = typing.get_type_hints(kind)
    if missing := [name for name in types_of if name not in values]:
        raise UsageError(f"it has no {missing[0]}.")
    return kind(**{name: _value(wanted, None, values[name], name) for name, wanted in types_of.items()})


_WORDS = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}


def _value(wanted: object, current: object, value: object, path: str) -> object:
    """A JSON value as the type of a field, or an error that names the types allowed."""
    is_union = typing.get_origin(wanted) in (types.UnionType, typing.Union)
    choices = typing.get_args(wanted) if is_union else (wanted,)
    words = []
    for choice in choices:
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


def shown(value: object) -> str:
    """Returns a value as an error message quotes it."""
    return shortened(json.dumps(value)) if _depth(value) < 50 else "nested deeply"


def _depth(value: object) -> int:
    level, depth = [value], 0
    while level := [
        inner
        for outer in level
        if isinstance(outer, (list, dict))
        for inner in (outer.values() if isinstance(outer, dict) else outer)
    ]:
        depth += 1
    return depth
