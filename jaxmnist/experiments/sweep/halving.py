"""Successive halving: many members for few epochs, the better ones for more (Jamieson and Talwalkar, 2016).

Every rung trains its members anew, by a complete schedule of its own length. Resuming from the rung before would save
1 / eta of a rung, but compare something else: a one-cycle or linear schedule ends at a rate of zero and cannot be
extended, and the accuracy in the middle of a longer schedule says little about its end, as most of it comes when the
rate falls. So each rung compares complete trainings, and the last one those that the recipe asks for. Epoch counts of
the recipe (the patience of a plateau, the start of averaging) are not scaled.

Short trainings favour settings that learn fast; the best one in the long run may drop out on the first rung.
"""

from collections.abc import Mapping
from typing import NamedTuple

from jaxmnist.errors import UsageError


class Rung(NamedTuple):
    """A round of successive halving: its number of members, and their epochs."""

    number: int
    members: int
    epochs: int

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"rung{self.number}"


def plan_rungs(members: int, epochs: int, eta: int) -> list[Rung]:
    """Plans rungs: each has 1 / eta of the members and eta times the epochs of the one before, up to all epochs.

    There are as many rungs as leave a member for the last one and an epoch for the first.

    Raises:
        UsageError: there would be a single rung.
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


def promoted(scores: Mapping[int, float | None], count: int) -> list[int]:
    """Returns the numbers of the members with the highest scores; of equal ones the first, and none that diverged.

    Args:
        scores: mean accuracy of each member of a rung, None if it diverged.
        count: number of members of the next rung.
    """
    scored = {number: score for number, score in scores.items() if score is not None}
    return sorted(sorted(scored, key=lambda number: (-scored[number], number))[:count])
