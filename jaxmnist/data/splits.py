"""Which images train, which select and which judge."""

from typing import Literal

import numpy as np
from jaxtyping import Int32

Split = Literal["train", "val", "test"]
SelectOn = Literal["val", "test", "last"]
"""What drives the schedule and picks the epoch: a split, or nothing, where the last epoch is the one."""

LAST_TWELFTH = (11, 12)
"""The part of the training images that is held out for `val`, of how many: 5,000 of MNIST's 60,000."""


def split_indices(
    train_count: int, test_count: int, select_on: SelectOn, held_out: tuple[int, int] = LAST_TWELFTH
) -> dict[Split, Int32[np.ndarray, " n"]]:
    """Indices of each split into the training images followed by the test images.

    `val` is one of several equal parts of the training images, in their order. MNIST's stand in the order of their
    writers, nearly, so that few writers are on both sides. With `select_on="test"` (the published protocol) and
    `"last"` it is empty and all training images train.

    Args:
        train_count, test_count: number of images.
        select_on: says whether images are held out.
        held_out: which part, counted from 0, and of how many.
    """
    part, parts = held_out
    count = train_count // parts if select_on == "val" else 0
    start = train_count - (parts - part) * count
    everything = np.arange(train_count + test_count, dtype=np.int32)
    before, val, after, test = np.split(everything, [start, start + count, train_count])
    return {"train": np.concatenate([before, after]), "val": val, "test": test}
