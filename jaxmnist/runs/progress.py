"""Callbacks for training progress."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal


@dataclasses.dataclass(frozen=True)
class Progress:
    """One event of a run: its start, the end of a chunk of steps, or the end of an epoch."""

    kind: Literal["start", "step", "epoch", "finished"]
    """`start` comes before the first step. Studies send `finished` once all files of the seed are written."""
    seed: int
    """Seed of the run, which identifies it within a study."""
    epoch: int
    """Number of the epoch, from 1; at `start`, the number of epochs completed by earlier sessions."""
    done: int = 0
    """Completed batches of the epoch."""
    total: int = 0
    """Batches in the epoch."""
    loss: float = math.nan
    """Mean training loss of the epoch so far."""
    accuracy: float = math.nan
    """Training accuracy of the epoch so far, in percent."""
    row: Mapping[str, Any] | None = None
    """Line of `metrics.jsonl`, at `epoch`."""


Callback = Callable[[Progress], None]
"""Function called at every event, in the training thread; an exception ends the run."""
