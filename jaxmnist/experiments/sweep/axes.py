"""Axes of a sweep: a field of the configuration, and the values or the range to try.

`FIELD=A,B,C` lists values; `FIELD=LOW:HIGH` is a uniform range; `FIELD=log:LOW:HIGH` is uniform in the logarithm.
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
"""Fields that do not belong to the recipe."""

DIGITS = 4
"""Significant digits of numbers drawn from a range, so that tables and folder names show the exact value."""

Value = bool | int | float | str | None
"""Value of a field, as JSON has it."""

_RANGE = re.compile(r"(log:)?([^:]+):([^:]+)")


@dataclasses.dataclass(frozen=True)
class Axis:
    """A field with the choices or the range to try."""

    field: str
    """Field of the recipe, with a dot before that of a part (`augmentation.rotation`), or one of `OF_RUN`."""
    choices: tuple[Value, ...] = ()
    low: float = 0.0
    high: float = 0.0
    is_log: bool = False
    is_whole: bool = False
    """True if the range has whole numbers, both ends included."""

    @property
    def ends(self) -> tuple[Value, ...]:
        """All choices, or the ends of the range."""
        return self.choices or (self.value(self.low), self.value(self.high))

    def value(self, number: float) -> int | float:
        """Rounds a number of the range."""
        if self.is_whole:
            return round(number)
        return min(max(float(f"{number:.{DIGITS}g}"), self.low), self.high)

    def draw(self, random: np.random.Generator) -> Value:
        """Draws a random value."""
        if self.choices:
            return self.choices[int(random.integers(len(self.choices)))]
        share = float(random.random())
        if self.is_log:
            return self.value(math.exp(math.log(self.low) + share * math.log(self.high / self.low)))
        if self.is_whole:
            return int(self.low + share * (self.high - self.low + 1))
        return self.value(self.low + share * (self.high - self.low))


def parse_axes(texts: Sequence[str]) -> tuple[Axis, ...]:
    """Parses axes as given to --over.

    Raises:
        UsageError: a field is unknown (the message names the nearest one) or given twice; a list or range is empty or
            does not fit the field.
    """
    axes: dict[str, Axis] = {}
    for text in texts:
        axis = _parse(text)
        if axis.field in axes:
            raise UsageError(f"--over gives {axis.field} twice; give all its values at once.")
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
    # A word may contain colons: arch=my_net.py:Net.
    if str not in choices_of(known[field]) and (match := _RANGE.fullmatch(values)):
        return _range(text, field, *match.groups())
    choices: list[Value] = []
    for value in (parse_value(field, part) for part in values.split(",")):
        if not isinstance(value, Value):
            raise UsageError(
                f"--over {text} has the value {value}; give numbers, words, true, false or null."
            )
        if value == "":
            raise UsageError(f"--over {text} has an empty value; remove the comma or add a value.")
        if value in choices:
            raise UsageError(f"--over {text} has {value!r} twice; give it once.")
        choices.append(value)
    return Axis(field, tuple(choices))


def _range(text: str, field: str, log: str | None, *ends: str) -> Axis:
    types = choices_of(swept_types()[field])
    if not {int, float} & set(types):
        raise UsageError(
            f"--over {text} is a range, but {field} is not a number; list values: {field}=A,B,C."
        )
    low, high = (_number(text, end) for end in ends)
    if not low < high:
        raise UsageError(f"--over {text} is an empty range; give the lower end first.")
    if log and low <= 0:
        raise UsageError(f"--over {text} begins at {low:g}, which has no logarithm; begin above 0.")
    is_whole = int in types
    if is_whole and not (low.is_integer() and high.is_integer()):
        raise UsageError(f"--over {text} has fractions as ends, but {field} is whole; give whole numbers.")
    return Axis(field, (), low, high, bool(log), is_whole)


def _number(text: str, end: str) -> float:
    try:
        number = float(end)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(
            f"--over {text} has the end {end!r}, which is not a number; write LOW:HIGH or log:LOW:HIGH."
        )
    return number
