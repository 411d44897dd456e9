"""Progress of a training run, as callbacks get it."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal


@dataclasses.dataclass(frozen=True)
class Progress:
    """A moment of one run: its start, the end of a chunk of steps, or the end of an epoch."""

    kind: Literal["start", "step", "epoch", "finished"]
    """`start` comes before the first step. `finished` is sent by studies, once all files of the seed are written."""
    seed: int
    """The run's seed, which tells the runs of a study apart."""
    epoch: int
    """Number of the epoch, from 1 on; at `start` the number of epochs that an earlier session completed."""
    done: int = 0
    """Batches done in the epoch."""
    total: int = 0
    """Batches in the epoch."""
    loss: float = math.nan
    """Mean training loss of the epoch so far."""
    accuracy: float = math.nan
    """Training accuracy of the epoch so far, in percent."""
    row: Mapping[str, Any] | None = None
    """At `epoch`: the epoch's line of `metrics.jsonl`."""


Callback = Callable[[Progress], None]
"""Called at every moment of a run, in the thread that trains; an exception ends the run."""
