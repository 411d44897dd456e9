"""Members of a sweep: what differs of each, its name, and its configuration."""

import dataclasses
import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxmnist.config.parsing import updated
from jaxmnist.config.run import RunConfig, changed_recipe
from jaxmnist.errors import UsageError
from jaxmnist.experiments.sweep.axes import OF_RUN, Axis
from jaxmnist.optim import make_optimizer

MOST = 100_000
"""Members of a sweep; more are a mistake in its axes."""

_LONGEST_NAME = 100
_DRAWS = 1_000  # in a row that were drawn before: then there are hardly others


class Member(NamedTuple):
    """A choice of values, and its number in the sweep, from 1 on."""

    number: int
    values: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name of its folder: the number and what differs, or where that is long the number alone."""
        fields = list(self.values)
        ends = [field.rpartition(".")[2] for field in fields]
        parts = (
            f"{end if ends.count(end) == 1 else field}={_word(self.values[field])}"
            for field, end in zip(fields, ends, strict=True)
        )
        name = "-".join((f"{self.number:03d}", *parts))
        return name if len(name) <= _LONGEST_NAME else f"{self.number:03d}"


def grid_members(axes: Sequence[Axis]) -> list[Member]:
    """Every combination of the values, the last axis changing fastest.

    Raises:
        UsageError: an axis is a range, or there are too many.
    """
    for axis in axes:
        if not axis.choices:
            raise UsageError(
                f"--over {axis.field} is a range, which has no grid; list its values, or add --random N."
            )
    count = math.prod(len(axis.choices) for axis in axes)
    if count > MOST:
        raise UsageError(f"the grid has {count:,} members, more than {MOST:,}; draw from it with --random N.")
    combinations = itertools.product(*(axis.choices for axis in axes))
    return [Member(number, _values(axes, values)) for number, values in enumerate(combinations, 1)]


def random_members(axes: Sequence[Axis], count: int, seed: int) -> list[Member]:
    """So many members at random, no two of them alike; those of a smaller count come first.

    Raises:
        UsageError: there are not as many.
    """
    random = np.random.default_rng(seed)
    found: dict[tuple[Any, ...], None] = {}
    repeats = 0
    while len(found) < count:
        values = tuple(axis.draw(random) for axis in axes)
        repeats = repeats + 1 if values in found else 0
        if repeats > _DRAWS:
            raise UsageError(
                f"--random {count} asks for more members than the {len(found)} that differ; lower it, or widen a range."
            )
        found[values] = None
    return [Member(number, _values(axes, values)) for number, values in enumerate(found, 1)]


def corner_members(axes: Sequence[Axis], most: int = 1000) -> list[Member]:
    """Combinations of all ends: where these are possible, what lies between them is."""
    corners = itertools.islice(itertools.product(*(axis.ends for axis in axes)), most)
    return [Member(number, _values(axes, values)) for number, values in enumerate(corners, 1)]


def member_config(member: Member, bases: Mapping[str, RunConfig], epochs: int | None = None) -> RunConfig:
    """What a member trains.

    Args:
        member: of the sweep.
        bases: configuration to start from, for each arch that the sweep has.
        epochs: instead of the recipe's.

    Raises:
        UsageError: that is impossible; the message names the member.
    """
    first = next(iter(bases))
    changes = {field: value for field, value in member.values.items() if field not in OF_RUN}
    if epochs is not None:
        changes["epochs"] = epochs
    of_run = {field: value for field, value in member.values.items() if field in OF_RUN}
    try:
        base = bases[of_run.get("arch", first)]
        recipe = changed_recipe(base.recipe, changes)
        config = updated(dataclasses.replace(base, recipe=recipe), of_run)
        config.create_model()
        make_optimizer(recipe)
    except UsageError as error:
        raise UsageError(f"member {member.name} is impossible: {error}") from error
    return config


def _values(axes: Sequence[Axis], values: Sequence[Any]) -> dict[str, Any]:
    return {axis.field: value for axis, value in zip(axes, values, strict=True)}


def _word(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return re.sub(r"[^\w.+-]", "_", text)
