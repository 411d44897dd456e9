"""What a trained network makes of a split: predictions, confusion matrix, mistakes."""

import itertools
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Float32, Float64, Int, Int32, UInt8

from jaxmnist.augment import augment
from jaxmnist.config import Augmentation
from jaxmnist.data import NUM_CLASSES, Dataset
from jaxmnist.data.splits import Split, split_indices
from jaxmnist.errors import UsageError
from jaxmnist.train.jit import EVAL_BATCH
from jaxmnist.train.network import Network, classify


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a network says of labelled images. Accuracies are percentages, confidences are in [0, 1]."""

    labels: Int32[np.ndarray, " n"]
    predictions: Int32[np.ndarray, " n"]
    log_probs: Float32[np.ndarray, "n 10"]

    @property
    def loss(self) -> float:
        """Mean negative log-likelihood of the labels."""
        chosen = np.take_along_axis(self.log_probs, self.labels[:, None], axis=1)
        return -float(chosen.mean(dtype=np.float64))

    @property
    def correct(self) -> int:
        """Images whose prediction is the label."""
        return int((self.predictions == self.labels).sum())

    @property
    def accuracy(self) -> float:
        return 100.0 * self.correct / len(self.labels)

    @property
    def confidences(self) -> Float32[np.ndarray, " n"]:
        """Probability of each prediction."""
        return np.exp(self.log_probs.max(axis=1))

    @property
    def confusion(self) -> Int[np.ndarray, "10 10"]:
        """How many images of each label (row) got each prediction (column)."""
        from sklearn.metrics import confusion_matrix  # takes a second to import

        return confusion_matrix(self.labels, self.predictions, labels=np.arange(NUM_CLASSES))

    @property
    def class_accuracies(self) -> Float64[np.ndarray, "10"]:
        """Share of each label's images that are correct, in percent; NaN where a label has no image."""
        hits = np.bincount(self.labels[self.predictions == self.labels], minlength=NUM_CLASSES)
        images = np.bincount(self.labels, minlength=NUM_CLASSES)
        return np.divide(100.0 * hits, images, where=images > 0, out=np.full(NUM_CLASSES, np.nan))

    @property
    def mistakes(self) -> Int[np.ndarray, " wrong"]:
        """Positions of the images predicted wrongly, the most confident mistake first."""
        wrong = np.flatnonzero(self.predictions != self.labels)
        return wrong[np.argsort(-self.confidences[wrong], kind="stable")]


def evaluate(
    network: Network,
    images: UInt8[np.ndarray, "n 28 28"] | Float32[np.ndarray, "n 28 28"],
    labels: Int32[np.ndarray, " n"],
) -> Evaluation:
    """Predicts every image exactly once, as they are: not augmented, in their order, whatever their number."""
    return Evaluation(labels, *classify(network, images))


def evaluate_shifted(
    network: Network,
    images: UInt8[np.ndarray, "n 28 28"] | Float32[np.ndarray, "n 28 28"],
    labels: Int32[np.ndarray, " n"],
    shifts: int,
) -> Evaluation:
    """Predicts every image by the mean of its probabilities over all shifts by up to so many pixels, on each axis.

    A network's accuracy is what `evaluate` gives; this one spends (2 shifts + 1)^2 times as much on an image.
    """
    count, side = images.shape[:2]
    framed = np.pad(images, ((0, 0), (shifts, shifts), (shifts, shifts)))
    places = range(2 * shifts + 1)
    total = np.zeros((count, NUM_CLASSES))
    for down, right in itertools.product(places, places):
        total += np.exp(classify(network, framed[:, down : down + side, right : right + side])[1])
    mean = (total / len(places) ** 2).astype(np.float32)
    # Of a probability that float32 cannot hold there is no logarithm.
    log_probs = np.log(np.maximum(mean, np.finfo(np.float32).tiny))
    return Evaluation(labels, mean.argmax(1).astype(np.int32), log_probs)


def evaluate_split(
    network: Network, dataset: Dataset, split: Split, images: np.ndarray | None = None, shifts: int = 0
) -> dict[str, Any]:
    """Evaluates a network on a split of a dataset, which need not be the one it was trained on.

    Args:
        network: the network.
        dataset: the images; all its training images are `train` unless the network's run held some out.
        split: which of them.
        images: what is classified in place of `images_of(dataset, split)`, `augmented` say.
        shifts: pixels by which images are shifted, see `evaluate_shifted`; 0 evaluates them as they are.

    Returns:
        The contents of the split's evaluation file, plain JSON values; null for what is not known of a
        network without a run. The `index` of a mistake is one into the dataset's test images for the split
        `test`, into its training images for `train` and `val`.

    Raises:
        UsageError: the split is empty, because no images were held out.
    """
    config = network.config
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
    images = images_of(dataset, split) if images is None else images
    labels = dataset.test_labels if split == "test" else dataset.train_labels
    chosen = images[indices], labels[indices]
    evaluation = evaluate_shifted(network, *chosen, shifts) if shifts else evaluate(network, *chosen)
    return {
        "arch": network.arch,
        "recipe": network.recipe.name,
        "seed": config.seed if config else None,
        "epoch": network.epoch,
        "step": network.step,
        "trained_on": config.dataset if config else None,
        "dataset": dataset.name,
        "data_source": dataset.source,
        "data_of_run": dataset.fingerprint == config.data_fingerprint if config else None,
        "split": split,
        "shifts": shifts,
        **_figures(evaluation, indices),
    }


def wilson_interval(correct: int, examples: int) -> tuple[float, float]:
    """95 % interval of an accuracy, in percent (Wilson 1927): what it leaves open by the number of images alone."""
    z = 1.959964
    share = correct / examples
    middle = share + z * z / (2 * examples)
    half = z * ((share * (1 - share) + z * z / (4 * examples)) / examples) ** 0.5
    low, high = ((middle + side) / (1 + z * z / examples) for side in (-half, half))
    return 100 * max(0.0, low), 100 * min(1.0, high)


def splits_of(network: Network, dataset: Dataset) -> list[Split]:
    """The splits that have images: `train`, `val` where the network's run held out some, `test`."""
    return [split for split, indices in _indices(network, dataset).items() if len(indices)]


def images_of(dataset: Dataset, split: Split) -> UInt8[np.ndarray, "n 28 28"]:
    """The images that a split is part of."""
    return dataset.test_images if split == "test" else dataset.train_images


def augmented(
    images: UInt8[np.ndarray, "n 28 28"], augmentation: Augmentation, seed: int
) -> UInt8[np.ndarray, "n 28 28"] | Float32[np.ndarray, "n 28 28"]:
    """Images changed as in training. What is drawn for one depends on the seed and its position alone."""
    padded = np.pad(images, ((0, -len(images) % EVAL_BATCH), (0, 0), (0, 0)))
    batches = padded.reshape(-1, EVAL_BATCH, *images.shape[1:])
    keys = jax.random.split(jax.random.key(seed), len(batches))
    change = jax.jit(lambda pairs: jax.lax.map(lambda pair: augment(pair[0], pair[1], augmentation), pairs))
    return np.asarray(change((keys, batches))).reshape(padded.shape)[: len(images)]


def _indices(network: Network, dataset: Dataset) -> dict[Split, Int32[np.ndarray, " n"]]:
    counts = len(dataset.train_labels), len(dataset.test_labels)
    return network.config.splits(*counts) if network.config else split_indices(*counts, "test")


def _figures(evaluation: Evaluation, indices: Int32[np.ndarray, " n"]) -> dict[str, Any]:
    shares, confidences = evaluation.class_accuracies.tolist(), evaluation.confidences
    return {
        "loss": evaluation.loss,
        "correct": evaluation.correct,
        "errors": len(evaluation.mistakes),
        "examples": len(evaluation.labels),
        "accuracy": evaluation.accuracy,
        "class_accuracies": [None if np.isnan(share) else share for share in shares],
        "confusion": evaluation.confusion.tolist(),
        "mistakes": [
            {
                "index": int(indices[i]),
                "label": int(evaluation.labels[i]),
                "prediction": int(evaluation.predictions[i]),
                "confidence": float(confidences[i]),
            }
            for i in evaluation.mistakes
        ],
    }
