"""Predictions of a study's seeds, image by image, by which two studies are compared."""

import io

import numpy as np
from jaxtyping import UInt

from jaxmnist.errors import CheckpointError, StorageError, writing
from jaxmnist.experiments.study.folder import PREDICTIONS, Study
from jaxmnist.runtime.files import write_atomically
from jaxmnist.runtime.npz import read_npz

_MAX_PREDICTIONS = 2**24  # two bytes for each image and its label, with room for a million images


def write_predictions(study: Study, seed: int, predictions: np.ndarray, labels: np.ndarray) -> None:
    """Writes the last epoch's predictions for each image of the study's split, and the labels.

    Raises:
        StorageError: the file cannot be written.
    """
    path, content = study.run(seed) / PREDICTIONS, io.BytesIO()
    dtype = np.min_scalar_type(len(study.config.classes) - 1)
    arrays = {"predictions": predictions.astype(dtype), "labels": labels.astype(dtype)}
    np.savez_compressed(content, allow_pickle=False, **arrays)
    with writing(path, "give the same command again", StorageError, mend=True):
        write_atomically(path, content.getvalue())


def read_predictions(study: Study, seed: int) -> tuple[UInt[np.ndarray, " n"], UInt[np.ndarray, " n"]]:
    """Reads predictions and labels of a finished seed, image by image.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = study.run(seed) / PREDICTIONS
    try:
        arrays = read_npz(path, _MAX_PREDICTIONS)
        predictions, labels = arrays["predictions"], arrays["labels"]
        if predictions.shape != labels.shape or predictions.dtype.kind != "u" or predictions.ndim != 1:
            raise ValueError(f"{predictions.dtype} of shape {predictions.shape}")
    except (OSError, ValueError, LookupError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); delete it and train the seed again.") from error
    return predictions, labels
