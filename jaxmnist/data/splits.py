"""Which images train, which select and which judge."""

from typing import Literal

import numpy as np
from jaxtyping import Int32

Split = Literal["train", "val", "test"]
SelectOn = Literal["val", "test", "last"]
"""What drives the schedule and picks the epoch: a split, or nothing, where the last epoch is the one."""

HELD_OUT_SHARE = 12
"""One in this many training images is held out for `val`: 5,000 of MNIST's 60,000."""


def split_indices(
    train_count: int, test_count: int, select_on: SelectOn
) -> dict[Split, Int32[np.ndarray, " n"]]:
    """Indices of each split into the training images followed by the test images.

    `val` is the end of the training images, the same for every seed, so that runs can be compared on it. With
    `select_on="test"` (the published protocol) and `"last"` it is empty and all training images train.
    """
    held_out = train_count // HELD_OUT_SHARE if select_on == "val" else 0
    everything = np.arange(train_count + test_count, dtype=np.int32)
    train, val, test = np.split(everything, [train_count - held_out, train_count])
    return {"train": train, "val": val, "test": test}
