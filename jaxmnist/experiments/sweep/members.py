"""Members of a sweep: their values, names and configurations."""

import dataclasses
import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxmnist.config.changes import changed_recipe
from jaxmnist.config.parsing import updated
from jaxmnist.config.run import RunConfig
from jaxmnist.errors import UsageError
from jaxmnist.experiments.sweep.axes import OF_RUN, Axis
from jaxmnist.optim import make_optimizer

MOST = 100_000
"""Most members of a sweep; more are a mistake in its axes."""

_LONGEST_NAME = 100
_DRAWS = 1_000  # repeated draws in a row after which hardly any new member can be left


class Member(NamedTuple):
    """Values of the axes, and the number in the sweep, from 1 on."""

    number: int
    values: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of its folder: the number and the values, or the number alone if that is too long."""
        ends = [field.rpartition(".")[2] for field in self.values]
        parts = [f"{self.number:03d}"]
        for (field, value), end in zip(self.values.items(), ends, strict=True):
            word = re.sub(r"[^\w.+-]", "_", value_text(value))
            parts.append(f"{end if ends.count(end) == 1 else field}={word}")
        name = "-".join(parts)
        return name if len(name) <= _LONGEST_NAME else f"{self.number:03d}"


def grid_members(axes: Sequence[Axis]) -> list[Member]:
    """Makes every combination of the values; the last axis changes fastest.

    Raises:
        UsageError: an axis is a range, or there are too many.
    """
    for axis in axes:
        if not axis.choices:
            raise UsageError(
                f"--over {axis.field} is a range, which has no grid; list values, or add --random N."
            )
    count = math.prod(len(axis.choices) for axis in axes)
    if count > MOST:
        raise UsageError(f"the grid has {count:,} members, more than {MOST:,}; draw from it with --random N.")
    combinations = itertools.product(*(axis.choices for axis in axes))
    return [Member(number, _values(axes, values)) for number, values in enumerate(combinations, 1)]


def random_members(axes: Sequence[Axis], count: int, seed: int) -> list[Member]:
    """Draws different members at random; a larger count only adds members.

    Raises:
        UsageError: there are too few different ones.
    """
    random = np.random.default_rng(seed)
    found: dict[tuple[Any, ...], None] = {}
    repeats = 0
    while len(found) < count:
        values = tuple(axis.draw(random) for axis in axes)
        repeats = repeats + 1 if values in found else 0
        if repeats > _DRAWS:
            raise UsageError(
                f"--random {count} asks for more than the {len(found)} different members there are; lower it, or widen "
                "a range."
            )
        found[values] = None
    return [Member(number, _values(axes, values)) for number, values in enumerate(found, 1)]


def corner_members(axes: Sequence[Axis], most: int = 1000) -> list[Member]:
    """Makes combinations of the ends of all axes: if these are possible, so are the values between them."""
    corners = itertools.islice(itertools.product(*(axis.ends for axis in axes)), most)
    return [Member(number, _values(axes, values)) for number, values in enumerate(corners, 1)]


def member_config(member: Member, bases: Mapping[str, RunConfig], epochs: int | None = None) -> RunConfig:
    """Makes the configuration of a member.

    Args:
        member: the member.
        bases: configuration to start from, for each arch of the sweep.
        epochs: replaces the recipe's.

    Raises:
        UsageError: the configuration is impossible; the message names the member.
    """
    changes = {field: value for field, value in member.values.items() if field not in OF_RUN}
    if epochs is not None:
        changes["epochs"] = epochs
    base = bases[member.values.get("arch", next(iter(bases)))]
    norm = {"norm": member.values["norm"]} if "norm" in member.values else {}
    try:
        recipe = changed_recipe(base.recipe, changes)
        config = updated(dataclasses.replace(base, recipe=recipe), norm)
        config.create_model()
        make_optimizer(recipe)
    except UsageError as error:
        raise UsageError(f"member {member.name} is impossible: {error}") from error
    return config


def _values(axes: Sequence[Axis], values: Sequence[Any]) -> dict[str, Any]:
    return {axis.field: value for axis, value in zip(axes, values, strict=True)}


def value_text(value: object) -> str:
    """Returns a value as text: words as they are, others as JSON."""
    return value if isinstance(value, str) else json.dumps(value)
