"""Evaluation of a trained network on a split: loss, accuracy, confusion matrix, mistakes."""

import dataclasses
import itertools
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Float32, Int32, UInt8

from jaxmnist.augment import augment
from jaxmnist.config import Augmentation
from jaxmnist.data import Dataset
from jaxmnist.data.dataset import dataset_title
from jaxmnist.data.splits import Split, split_indices
from jaxmnist.errors import UsageError, listed
from jaxmnist.inference.calibration import Bin, expected_calibration_error, reliability
from jaxmnist.runs.notebook import facts_html, table_html
from jaxmnist.train.jit import EVAL_BATCH
from jaxmnist.train.network import Network, calibrated

_MOST_SHOWN = 30  # classes of a confusion matrix in a notebook


@dataclass(frozen=True)
class Mistake:
    """An image that a network got wrong."""

    index: int
    """Position among the dataset's test images for the split `test`, among its training images otherwise."""
    label: int
    """The true class."""
    prediction: int
    """The predicted class."""
    confidence: float
    """Probability of the predicted class, in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Figures of a network on one split of a dataset, as plain values. Accuracies are percentages."""

    arch: str
    """Name of the network."""
    recipe: str
    """Name of the recipe it was trained by."""
    seed: int | None
    """Seed of its run; None for a weights file."""
    epoch: int | None
    """Epoch of its weights; None in the middle of one and for a weights file."""
    step: int | None
    """Training steps of its weights; None for a weights file."""
    trained_on: str | None
    """Dataset of its run; None for a weights file."""
    dataset: str
    """Dataset it was evaluated on."""
    classes: list[str]
    """Names of the classes."""
    data_source: str
    """Place the dataset was read from."""
    data_of_run: bool | None
    """True if these are the data of its run, by their fingerprint; None for a weights file."""
    split: Split
    """Split it was evaluated on."""
    shifts: int
    """Pixels by which the images were shifted, see `predict_shifted`; 0 for images as they are."""
    loss: float
    """Mean negative log-likelihood of the labels."""
    correct: int
    """Number of images whose prediction is the label."""
    errors: int
    """Number of the other images."""
    examples: int
    """Number of images."""
    accuracy: float
    """Share of the correct images."""
    class_accuracies: list[float | None]
    """Accuracy on the images of each class; None for a class without images."""
    confusion: list[list[int]]
    """Number of images by label (row) and prediction (column)."""
    mistakes: list[Mistake]
    """The images predicted wrongly, the most confident mistake first."""
    augmentation_seed: int | None
    """Seed of the augmentation; None for images that were not augmented."""
    temperature: float
    """Divisor of the logits that calibrates confidences; the loss is that of the logits as they are."""
    expected_calibration_error: float
    """Mean distance of confidence and accuracy over 15 bins, in [0, 1]."""
    reliability: list[Bin]
    """Predictions by confidence."""

    def as_json(self) -> dict[str, Any]:
        """Returns the fields as plain JSON values."""
        return dataclasses.asdict(self) | {"reliability": [part._asdict() for part in self.reliability]}

    def _repr_html_(self) -> str:
        title = (
            f"{self.arch} on {self.dataset}, {self.split}: {self.correct:,} of {self.examples:,} correct "
            f"({self.accuracy:.2f} %), loss {self.loss:.4f}"
        )
        if len(self.classes) > _MOST_SHOWN:
            return facts_html(title, {"errors": self.errors, "classes": len(self.classes)})
        rows = [(name, *counts) for name, counts in zip(self.classes, self.confusion, strict=True)]
        return table_html(title, ("label / prediction", *self.classes), rows)


def evaluate_split(
    network: Network,
    dataset: Dataset,
    split: Split,
    images: np.ndarray | None = None,
    *,
    shifts: int = 0,
    augmentation_seed: int | None = None,
) -> Evaluation:
    """Evaluates a network on a split of a dataset, each image exactly once.

    Args:
        network: the network.
        dataset: the data, which need not be those of the network's run. All its training images are `train` unless
            the run held some out.
        split: the split.
        images: images to classify in place of `images_of(dataset, split)`, such as `augmented` ones.
        shifts: average over shifts by up to this many pixels, see `predict_shifted`; 0 takes images as they are.
        augmentation_seed: seed that `images` were augmented with, for the record.

    Raises:
        UsageError: the split is empty, because no images were held out; or the dataset has another number of classes.
    """
    config = network.config
    names = network.data_info.classes
    if len(names) != dataset.num_classes:
        raise UsageError(
            f"the network has {len(names)} classes ({listed(names)}) and {dataset.name} has {dataset.num_classes} "
            f"({listed(dataset.classes)}); evaluate it on data with its classes."
        )
    indices = _indices(network, dataset)[split]
    if not len(indices):
        reason = (
            f"the run was made with --select-on {config.select_on} and held out no images"
            if config
            else "a weights file does not say which images were held out"
        )
        raise UsageError(f"{reason}, so it has no split {split!r}; choose --split test, train or all.")
    if split == "test":
        indices = indices - len(dataset.train_labels)
    images = (images_of(dataset, split) if images is None else images)[indices]
    labels = (dataset.test_labels if split == "test" else dataset.train_labels)[indices]
    predictions, log_probs = predict_shifted(network, images, shifts) if shifts else network.predict(images)
    confidences = calibrated(log_probs, network.temperature).max(axis=1)
    bins = reliability(confidences, predictions == labels)
    wrong = np.flatnonzero(predictions != labels)
    classes = log_probs.shape[1]
    confusion = np.bincount(labels * classes + predictions, minlength=classes**2).reshape(classes, classes)
    correct, examples = len(labels) - len(wrong), len(labels)
    return Evaluation(
        arch=network.arch,
        recipe=network.recipe.name,
        seed=config.seed if config else None,
        epoch=network.epoch,
        step=network.step,
        trained_on=dataset_title(config.dataset) if config else None,
        dataset=dataset.name,
        classes=list(names),
        data_source=dataset.source,
        data_of_run=dataset.fingerprint == config.data_fingerprint if config else None,
        split=split,
        shifts=shifts,
        loss=-float(np.take_along_axis(log_probs, labels[:, None], axis=1).mean(dtype=np.float64)),
        correct=correct,
        errors=len(wrong),
        examples=examples,
        accuracy=100.0 * correct / examples,
        class_accuracies=[
            100.0 * int(row[label]) / int(row.sum()) if row.any() else None
            for label, row in enumerate(confusion)
        ],
        confusion=confusion.tolist(),
        mistakes=[
            Mistake(int(indices[i]), int(labels[i]), int(predictions[i]), float(confidences[i]))
            for i in wrong[np.argsort(-confidences[wrong], kind="stable")]
        ],
        augmentation_seed=augmentation_seed,
        temperature=network.temperature,
        expected_calibration_error=expected_calibration_error(bins),
        reliability=bins,
    )


def predict_shifted(
    network: Network,
    images: UInt8[np.ndarray, "n 28 28"] | Float32[np.ndarray, "n 28 28"],
    shifts: int,
) -> tuple[Int32[np.ndarray, " n"], Float32[np.ndarray, "n classes"]]:
    """Predicts every image by its mean probabilities over all shifts by up to `shifts` pixels on each axis.

    This takes (2 shifts + 1)^2 times as long as a plain prediction, and its accuracy is another figure than the
    network's own.

    Returns:
        Predictions, and the logarithms of the mean probabilities.
    """
    side = images.shape[1]
    padded = np.pad(images, ((0, 0), (shifts, shifts), (shifts, shifts)))
    offsets = range(2 * shifts + 1)
    total = np.zeros(())
    for top, left in itertools.product(offsets, offsets):
        total = total + np.exp(network.predict(padded[:, top : top + side, left : left + side])[1])
    mean = (total / len(offsets) ** 2).astype(np.float32)
    # The logarithm of a probability that underflows to 0 is kept finite.
    log_probs = np.log(np.maximum(mean, np.finfo(np.float32).tiny))
    return mean.argmax(1).astype(np.int32), log_probs


def wilson_interval(correct: int, examples: int) -> tuple[float, float]:
    """Returns the 95 % confidence interval of an accuracy over that many images, in percent (Wilson 1927)."""
    from scipy.stats import binomtest  # takes a second to import

    interval = binomtest(correct, examples).proportion_ci(method="wilson")
    return 100 * float(interval.low), 100 * float(interval.high)


def splits_of(network: Network, dataset: Dataset) -> list[Split]:
    """Returns the splits that have images: `train`, `val` if the network's run held out some, `test`."""
    return [split for split, indices in _indices(network, dataset).items() if len(indices)]


def images_of(dataset: Dataset, split: Split) -> UInt8[np.ndarray, "n 28 28"]:
    """Returns the images that a split is part of."""
    return dataset.test_images if split == "test" else dataset.train_images


def augmented(
    images: UInt8[np.ndarray, "n 28 28"], augmentation: Augmentation, seed: int
) -> UInt8[np.ndarray, "n 28 28"] | Float32[np.ndarray, "n 28 28"]:
    """Returns images augmented as in training; the changes to an image depend on the seed and its position alone."""
    padded = np.pad(images, ((0, -len(images) % EVAL_BATCH), (0, 0), (0, 0)))
    batches = padded.reshape(-1, EVAL_BATCH, *images.shape[1:])
    keys = jax.random.split(jax.random.key(seed), len(batches))
    change = jax.jit(lambda pairs: jax.lax.map(lambda pair: augment(pair[0], pair[1], augmentation), pairs))
    return np.asarray(change((keys, batches))).reshape(padded.shape)[: len(images)]


def _indices(network: Network, dataset: Dataset) -> dict[Split, Int32[np.ndarray, " n"]]:
    counts = len(dataset.train_labels), len(dataset.test_labels)
    if network.config is None:
        return split_indices(*counts, "test")
    return split_indices(
        *counts,
        network.config.select_on,
        network.config.held_out,
        None if network.config.folds else dataset.val_count,
    )
