"""A picture of a dataset: training images of each class."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from jaxmnist.data import Dataset
from jaxmnist.runs.curves import plain, save_figure

_SAMPLES = 10
_MOST_CLASSES = 120
_ROWS = 30
"""Classes in a column; more go to the columns beside it."""
_GAP = 2
"""Pixels of an image that lie between two images."""
_INCHES = 0.4
"""Side of an image with its gap."""


def save_samples(path: Path, dataset: Dataset) -> Path:
    """Draws training images of each class in a row, spread evenly over those there are.

    Args:
        path: PNG file to write.
        dataset: the dataset.

    Returns:
        The file written.
    """
    classes = dataset.classes[:_MOST_CLASSES]
    columns = -(-len(classes) // _ROWS)
    rows = -(-len(classes) // columns)
    figure = Figure(
        figsize=(columns * (_INCHES * _SAMPLES + 1.5), _INCHES * rows + 0.6), layout="constrained"
    )
    all_axes = figure.subplots(1, columns, squeeze=False)[0]
    for axes, start in zip(all_axes, range(0, len(classes), rows), strict=True):
        names = classes[start : start + rows]
        mosaic = np.concatenate([_row(dataset, start + index) for index in range(len(names))])[:-_GAP, :-_GAP]
        axes.imshow(mosaic, cmap="gray", vmin=0, vmax=255)
        axes.set_xticks([])
        side = 28 + _GAP
        axes.set_yticks([side * row + 13.5 for row in range(len(names))], map(plain, names), fontsize=9)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_anchor("N")
    shown = "" if len(classes) == dataset.num_classes else f", the first {len(classes)}"
    title = f"Training images of {plain(dataset.name)}: {dataset.num_classes:,} classes{shown}"
    figure.suptitle(title, fontsize=9)
    return save_figure(figure, path)


def _row(dataset: Dataset, label: int) -> np.ndarray:
    """A row of images of a class with white gaps; white where there are fewer."""
    of_class = np.flatnonzero(dataset.train_labels == label)
    chosen = (
        of_class[np.unique(np.linspace(0, len(of_class) - 1, _SAMPLES).round().astype(int))]
        if len(of_class)
        else []
    )
    tiles = np.full((28 + _GAP, _SAMPLES, 28 + _GAP), 255, np.uint8)
    for column, index in enumerate(chosen):
        tiles[:28, column, :28] = dataset.train_images[index]
    return tiles.reshape(28 + _GAP, -1)
