"""The splits of a dataset: images to train on, to select on and to test on."""

from typing import Literal

import numpy as np
from jaxtyping import Int32

from jaxmnist.data.dataset import Dataset
from jaxmnist.errors import DataError

Split = Literal["train", "val", "test"]
SelectOn = Literal["val", "test", "last"]
"""The split that drives the schedule and selects the epoch; "last" uses none and selects the last epoch."""

LAST_TWELFTH = (11, 12)
"""The part of the training images held out for `val`, and the number of parts: 5,000 of MNIST's 60,000."""


def split_indices(
    train_count: int,
    test_count: int,
    select_on: SelectOn,
    held_out: tuple[int, int] = LAST_TWELFTH,
    val_count: int | None = None,
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
        val_count: `Dataset.val_count`; the last so many training images are held out instead of a part.
    """
    part, parts = held_out
    if val_count is None:
        count = train_count // parts
        start = train_count - (parts - part) * count
    else:
        count, start = val_count, train_count - val_count
    count = count if select_on == "val" else 0
    everything = np.arange(train_count + test_count, dtype=np.int32)
    before, val, after, test = np.split(everything, [start, start + count, train_count])
    return {"train": np.concatenate([before, after]), "val": val, "test": test}


def require_enough(
    dataset: Dataset, select_on: SelectOn, folds: int | None = None, batch_size: int | None = None
) -> None:
    """Checks that a dataset has images for each split of a run.

    Args:
        dataset: the dataset.
        select_on: `"val"` needs an image to hold out.
        folds: number of parts that one is held out of; None for the val split that came with the data, or a twelfth.
        batch_size: least number of images to train on; None for one.

    Raises:
        DataError: there are too few training images.
    """
    parts = (0, folds) if folds else LAST_TWELFTH
    val_count = None if folds else dataset.val_count
    splits = split_indices(len(dataset.train_images), 0, select_on, parts, val_count)
    count, where = len(dataset.train_images), dataset.path or dataset.source
    if select_on == "val" and not len(splits["val"]):
        raise DataError(
            f"{where} has {count} training images, too few to hold out one in {parts[1]} for val; add images, or "
            "select on test or last."
        )
    if len(splits["train"]) < (least := batch_size or 1):
        raise DataError(
            f"{where} leaves {len(splits['train'])} images to train on where a batch has {least}; add images, or make "
            "batches smaller."
        )
