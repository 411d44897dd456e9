"""Predictions for image files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxmnist.errors import DataError
from jaxmnist.images import INK_SIDE, Ink, read_image
from jaxmnist.inference import Network, classify


def predict_files(
    network: Network, paths: Sequence[Path], ink: Ink = "auto"
) -> tuple[list[dict[str, Any]], list[DataError]]:
    """Classifies image files; those that cannot be read do not keep the others from it.

    Args:
        network: the network; images are fitted in as those of the dataset that its run was trained on.
        paths: the files.
        ink: whether the images have light or dark ink, see `jaxmnist.images.fit`.

    Returns:
        For each image that can be read, in order, plain JSON values: `file`, `prediction`, its `confidence`
        in [0, 1], and the ten `probabilities`. And for each of the others its error.
    """
    side = INK_SIDE.get(network.config.dataset, 20) if network.config else 20
    files, images, errors = [], [], []
    for path in paths:
        try:
            images.append(read_image(path, ink, side))
            files.append(str(path))
        except DataError as error:
            errors.append(error)
    if not images:
        return [], errors
    predictions, log_probs = classify(network, np.stack(images))
    rows = []
    for file, prediction, probabilities in zip(files, predictions, np.exp(log_probs), strict=True):
        row = {"file": file, "prediction": int(prediction), "confidence": float(probabilities[prediction])}
        rows.append(row | {"probabilities": probabilities.tolist()})
    return rows, errors
