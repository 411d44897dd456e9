"""Limits of fields, stated in their annotations: `Annotated[float, Limits(at_least=0, below=1)]`."""

import dataclasses
import functools
import math
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from jaxmnist.errors import UsageError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Range of a number, which must be finite in any case."""

    above: int | float = -math.inf
    at_least: int | float = -math.inf
    at_most: int | float = math.inf
    below: int | float = math.inf

    def allow(self, value: int | float) -> bool:
        """True if a value lies in the range."""
        return self.above < value < self.below and self.at_least <= value <= self.at_most

    def __str__(self) -> str:
        if math.isfinite(self.at_least) and math.isfinite(self.at_most):
            return f"from {self.at_least:,} to {self.at_most:,}"
        bounds = {name.replace("_", " "): bound for name, bound in dataclasses.asdict(self).items()}
        words = [f"{name} {bound:,}" for name, bound in bounds.items() if math.isfinite(bound)]
        has_end = math.isfinite(self.at_most) or math.isfinite(self.below)
        return " and ".join(words if has_end else [*words, "finite"])


def check_fields(part: object, title: str) -> None:
    """Checks the fields of a dataclass against their `Limits` and `Literal` choices; None passes.

    Args:
        part: the dataclass.
        title: its name in the error message.

    Raises:
        UsageError: a value is not allowed.
    """
    for field, wanted in _annotations(type(part)).items():
        value, arguments = getattr(part, field), typing.get_args(wanted)
        if typing.get_origin(wanted) is Literal:
            allowed, text = value in arguments, " or ".join(map(repr, arguments))
        elif typing.get_origin(wanted) is Annotated:
            allowed, text = value is None or arguments[1].allow(value), str(arguments[1])
        else:
            continue
        if not allowed:
            raise UsageError(f"{title} has {field}={value!r}, which must be {text}.")


@functools.cache
def _annotations(kind: type) -> Mapping[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)
