"""The splits of a dataset: images to train on, to select on and to test on."""

from typing import Literal

import numpy as np
from jaxtyping import Int32

Split = Literal["train", "val", "test"]
SelectOn = Literal["val", "test", "last"]
"""The split that drives the schedule and selects the epoch; "last" uses none and selects the last epoch."""

LAST_TWELFTH = (11, 12)
"""The part of the training images held out for `val`, and the number of parts: 5,000 of MNIST's 60,000."""


def split_indices(
    train_count: int, test_count: int, select_on: SelectOn, held_out: tuple[int, int] = LAST_TWELFTH
) -> dict[Split, Int32[np.ndarray, " n"]]:
    """Returns the indices of each split into the training images followed by the test images.

    `val` is one of several equal parts of the training images, in their order. MNIST is ordered nearly by writer,
    so few writers are on both sides. With `select_on="test"` (the published protocol) and `"last"`, `val` is empty
    and all training images train.

    Args:
        train_count: number of training images.
        test_count: number of test images.
        select_on: images are held out for `"val"` only.
        held_out: number of the part, from 0, and the number of parts.
    """
    part, parts = held_out
    count = train_count // parts if select_on == "val" else 0
    start = train_count - (parts - part) * count
    everything = np.arange(train_count + test_count, dtype=np.int32)
    before, val, after, test = np.split(everything, [start, start + count, train_count])
    return {"train": np.concatenate([before, after]), "val": val, "test": test}
