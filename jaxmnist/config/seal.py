"""Seals: a digest in a JSON object shows that one of its values has changed, and a second record tells which.

A seal protects against accidents, not against forgery: it holds no secret.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from jaxmnist.runtime.json_text import finite

SEAL = "seal"
"""Key of the digest over all other values."""


class SealError(ValueError):
    """A JSON object that is not as it was written; the message is a phrase."""


def digest(values: object) -> str:
    """SHA-256 (hex) of values as JSON; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(finite(values), sort_keys=True).encode()).hexdigest()


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an object with its seal."""
    return {**values, SEAL: digest(values)}


def opened(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an object without its seal.

    Raises:
        SealError: a value has changed since the object was sealed, or there is no seal.
    """
    content = {key: value for key, value in values.items() if key != SEAL}
    if SEAL not in values:
        raise SealError(f"it has no {SEAL}")
    if values[SEAL] != digest(content):
        raise SealError("it has changed since it was written")
    return content


def is_intact(values: Mapping[str, Any]) -> bool:
    """Returns True if an object has its seal and is as it was sealed."""
    try:
        opened(values)
    except SealError:
        return False
    return True


def first_difference(present: Mapping[str, Any], wanted: Mapping[str, Any], place: str = "") -> str:
    """Describes the first difference between two configurations; empty if they are equal."""
    for key in dict.fromkeys([*wanted, *present]):
        path, now, value = f"{place}{key}", present.get(key), wanted.get(key)
        if isinstance(value, Mapping) and isinstance(now, Mapping):
            if inner := first_difference(now, value, f"{path}."):
                return inner
        elif now != value or isinstance(now, bool) != isinstance(value, bool):
            return f"its {path} is {now!r}, not {value!r}"
    return ""


def as_texts(config: object) -> dict[str, str]:
    """Returns the fields of a configuration as texts by their place, such as `recipe.plateau.patience`."""

    def walk(values: Mapping[str, Any], place: str) -> Iterator[tuple[str, str]]:
        for name, value in values.items():
            if isinstance(value, Mapping):
                yield from walk(value, f"{place}{name}.")
            else:
                yield f"{place}{name}", str(value)

    return dict(walk(dataclasses.asdict(config), ""))  # pyright: ignore[reportArgumentType, reportCallIssue]
