"""Axes of a sweep: a field of the configuration, and the values or the range that it is tried with.

`FIELD=A,B,C` lists values; `FIELD=LOW:HIGH` is a range, uniform; `FIELD=log:LOW:HIGH` is uniform in the logarithm.
"""

import dataclasses
import functools
import math
import re
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxmnist.config.run import RunConfig
from jaxmnist.config.settings import choices_of, field_types, parse_value, require_field
from jaxmnist.errors import UsageError, unknown_name

OF_RUN = ("arch", "norm")
"""Fields beside the recipe's."""

DIGITS = 4
"""Significant digits of numbers drawn from a range: what a table and a folder's name show is what was trained."""

_RANGE = re.compile(r"(log:)?([^:]+):([^:]+)")


@dataclasses.dataclass(frozen=True)
class Axis:
    """A field and what it is tried with: choices, or a range."""

    field: str
    """Of the recipe, with a dot before a part's (`augmentation.rotation`), or one of `OF_RUN`."""
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    is_log: bool = False
    is_whole: bool = False
    """The range has whole numbers, both ends among them."""

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values between which all others lie, or all there are."""
        return self.choices or (self.value(self.low), self.value(self.high))

    def value(self, number: float) -> Any:
        """A number of the range as it is trained with."""
        if self.is_whole:
            return round(number)
        return min(max(float(f"{number:.{DIGITS}g}"), self.low), self.high)

    def draw(self, random: np.random.Generator) -> Any:
        """A random value."""
        if self.choices:
            return self.choices[int(random.integers(len(self.choices)))]
        share = float(random.random())
        if self.is_log:
            return self.value(math.exp(math.log(self.low) + share * math.log(self.high / self.low)))
        if self.is_whole:
            return int(self.low + share * (self.high - self.low + 1))
        return self.value(self.low + share * (self.high - self.low))


def parse_axes(texts: Sequence[str]) -> tuple[Axis, ...]:
    """Axes as options name them.

    Raises:
        UsageError: a field is unknown, which is answered with the nearest one, or named twice; a list or range is
            empty or can hold nothing the field takes.
    """
    axes: dict[str, Axis] = {}
    for text in texts:
        axis = _parse(text)
        if axis.field in axes:
            raise UsageError(f"--over names {axis.field} twice; give all its values to one of them.")
        axes[axis.field] = axis
    return tuple(axes.values())


@functools.cache
def swept_types() -> Mapping[str, Any]:
    """Returns the type of every field that can be swept."""
    of_run = typing.get_type_hints(RunConfig)
    types = {name: of_run[name] for name in OF_RUN} | dict(field_types())
    del types["default_seed"]  # a sweep has seeds of its own
    return types


def _parse(text: str) -> Axis:
    field, equals, values = text.partition("=")
    if not equals:
        raise UsageError(
            f"--over {text} has no values; write {field}=A,B,C, {field}=LOW:HIGH or log:LOW:HIGH."
        )
    known = swept_types()
    if field not in known:
        require_field("--over", field)
        raise unknown_name("field", field, known)
    if match := _RANGE.fullmatch(values):
        return _range(text, field, *match.groups())
    choices = tuple(parse_value(field, value) for value in values.split(","))
    for index, value in enumerate(choices):
        if isinstance(value, (list, dict)):
            raise UsageError(
                f"--over {text} has the value {value}; give numbers, words, true, false or null."
            )
        if value == "":
            raise UsageError(f"--over {text} has an empty value; take out the comma or fill it in.")
        if value in choices[:index]:
            raise UsageError(f"--over {text} has {value!r} twice; each is trained once.")
    return Axis(field, choices)


def _range(text: str, field: str, log: str | None, *ends: str) -> Axis:
    kinds = choices_of(swept_types()[field])
    if not {int, float} & set(kinds):
        raise UsageError(
            f"--over {text} is a range, and {field} is no number; list its values: {field}=A,B,C."
        )
    low, high = (_number(text, end) for end in ends)
    if not low < high:
        raise UsageError(f"--over {text} is an empty range; begin with the lower end, below the higher one.")
    if log and low <= 0:
        raise UsageError(f"--over {text} begins at {low:g}, which has no logarithm; begin above 0.")
    is_whole = int in kinds
    if is_whole and not (low.is_integer() and high.is_integer()):
        raise UsageError(f"--over {text} has ends that are not whole, and {field} is a whole number.")
    return Axis(field, (), low, high, bool(log), is_whole)


def _number(text: str, end: str) -> float:
    try:
        number = float(end)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(
            f"--over {text} has the end {end!r}, which is no number; write LOW:HIGH or log:LOW:HIGH."
        )
    return number
