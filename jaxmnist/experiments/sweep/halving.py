"""Successive halving: many members for few epochs, the better ones for more (Jamieson and Talwalkar, 2016).

Every rung trains its members anew, by a complete schedule of its own length. To go on from the state of the rung
before would be cheaper and say something else: a one-cycle or linear schedule ends at a rate of zero, from where
there is no way on, and one that is cut off in its middle says little about its end, as the accuracy comes with the
fall of the rate. So what is compared on a rung are finished trainings of that many epochs, and the last rung's are
those that the recipe asks for. Going on would save a part of 1 / eta of every rung after the first; that is the price.
What the recipe counts in epochs (the patience of a plateau, the start of averaging) is not scaled.

Short trainings favour what learns fast; what is best in the end may be left behind on the first rung.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxmnist.errors import UsageError


class Rung(NamedTuple):
    """How many members are trained for how long."""

    number: int
    members: int
    epochs: int

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"rung{self.number}"


def plan_rungs(members: int, epochs: int, eta: int) -> list[Rung]:
    """Rungs with a part of 1 / eta of the members each, and eta times the epochs, up to all epochs.

    There are as many as leave a member for the last one and an epoch for the first.

    Raises:
        UsageError: that leaves one rung only.
    """
    last = 0
    while eta ** (last + 1) <= min(members, epochs):
        last += 1
    if not last:
        raise UsageError(
            f"--halving {eta} needs at least {eta} members and {eta} epochs; there are {members} and {epochs}."
        )
    return [
        Rung(index + 1, members // eta**index, max(1, round(epochs / eta ** (last - index))))
        for index in range(last + 1)
    ]


def promoted(scores: Mapping[int, float | None], count: int) -> Sequence[int]:
    """The numbers of the members with the highest scores, of equal ones those that come first; none that diverged.

    Args:
        scores: mean accuracy of each member of a rung, None where it diverged.
        count: how many go on.
    """

    def order(number: int) -> tuple[Any, int]:
        return -(scores[number] or 0.0), number

    return sorted(sorted((n for n in scores if scores[n] is not None), key=order)[:count])
