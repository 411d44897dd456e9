"""Reasons to end a training before its recipe's last epoch."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from jaxmnist.config import Recipe
from jaxmnist.config.run import RunConfig
from jaxmnist.errors import UsageError
from jaxmnist.runs.selection import best_row


@dataclasses.dataclass(frozen=True)
class StopRule:
    """Limits of one session of training, which ends after the epoch that reaches one; the best epoch is kept."""

    patience: int | None = None
    """Epochs without a better one on the selecting split; None for any number."""
    max_seconds: float | None = None
    """Seconds from the start of the session, its compilation included: an epoch that would take longer is not begun. At
    least one epoch is trained. A training whose course depends on its length gets fewer epochs instead, see
    `jaxmnist.runs.pace`."""

    def __post_init__(self) -> None:
        if self.patience is not None and self.patience < 1:
            raise UsageError(
                f"--patience {self.patience} is out of range; choose a number of epochs above 0."
            )
        if self.max_seconds is not None and not 0 < self.max_seconds < math.inf:
            raise UsageError(f"--max-seconds {self.max_seconds:g} is out of range; choose a number above 0.")

    def require_fitting(self, config: RunConfig, is_resumed: bool = False) -> None:
        """Checks that a run can be ended by this rule.

        Args:
            config: configuration of the run.
            is_resumed: True for a run whose number of epochs can no longer change.

        Raises:
            UsageError: it cannot.
        """
        course = course_over_length(config.recipe)
        if self.patience is not None and config.select_on == "last":
            raise UsageError(
                f"--patience {self.patience} watches the selecting split, and --select-on last has none; select on val "
                "or leave it out."
            )
        if self.patience is not None and course is not None:
            raise UsageError(
                f"--patience {self.patience} would cut off the end of the {course}, which brings the best epochs; "
                "leave it out or add --schedule constant."
            )
        if self.max_seconds is not None and course is not None and is_resumed:
            raise UsageError(
                f"--max-seconds {self.max_seconds:g} would cut off the {course}, which is fixed since the run began; "
                "leave it out, or begin a new run with --init-from."
            )

    def reason(self, config: RunConfig, rows: Sequence[Mapping[str, Any]], elapsed: float) -> str | None:
        """Returns the reason to end after an epoch, as a phrase; None to go on.

        Args:
            config: configuration of the run.
            rows: lines of metrics of all completed epochs, at least one.
            elapsed: seconds since the session began.
        """
        waited = len(rows) - max(best_row(config, rows)["epoch"], config.recipe.ignored_epochs)
        if self.patience is not None and waited >= self.patience:
            return f"no better epoch in {waited}"
        if self.max_seconds is None or course_over_length(config.recipe) is not None:
            return None
        is_over = elapsed + rows[-1]["seconds"] > self.max_seconds
        return f"{self.max_seconds:g} seconds are over with the next epoch" if is_over else None


NO_LIMITS = StopRule()


def course_over_length(recipe: Recipe) -> str | None:
    """Returns the part of a recipe whose course depends on the number of epochs, as a phrase; None if there is none."""
    if recipe.schedule is not None and recipe.schedule.kind != "step":
        return f"{recipe.schedule.kind} schedule of recipe {recipe.name!r}"
    if recipe.augmentation.fade:
        return f"fading augmentation of recipe {recipe.name!r}"
    return None
