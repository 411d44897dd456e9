"""What a trained network makes of a split: predictions, confusion matrix, mistakes."""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Float32, Float64, Int, Int32, UInt8

from jaxmnist.checkpoints import RestoredRun
from jaxmnist.data import NUM_CLASSES, Dataset
from jaxmnist.data.splits import split_indices
from jaxmnist.errors import UsageError
from jaxmnist.programs import EVAL_BATCH, build_programs

EVALUATION = "evaluation.json"

Split = Literal["train", "val", "test"]


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
    restored: RestoredRun, images: UInt8[np.ndarray, "n 28 28"], labels: Int32[np.ndarray, " n"]
) -> Evaluation:
    """Predicts every image exactly once, as they are: not augmented, in their order, whatever their number."""
    return Evaluation(labels, *classify(restored, images))


def classify(
    restored: RestoredRun, images: UInt8[np.ndarray, "n 28 28"]
) -> tuple[Int32[np.ndarray, " n"], Float32[np.ndarray, "n 10"]]:
    """Predictions and log-probabilities of images without labels; there is at least one."""
    count, config = len(images), restored.config
    padded = np.pad(images, ((0, -count % EVAL_BATCH), (0, 0), (0, 0)))
    programs = build_programs(config.create_model(), config.recipe, restored.device)
    predictions, log_probs = jax.device_get(programs.classify(restored.state, padded))
    return predictions[:count], log_probs[:count]


def evaluate_run(restored: RestoredRun, dataset: Dataset, split: Split) -> dict[str, Any]:
    """Evaluates a run on a split of a dataset, which need not be the one it was trained on.

    Returns:
        The contents of `evaluation.json`, plain JSON values. The `index` of a mistake is one into the
        dataset's test images for the split `test`, into its training images for `train` and `val`.

    Raises:
        UsageError: the split is empty, because the run held out no images.
    """
    config = restored.config
    train_count, test_count = len(dataset.train_labels), len(dataset.test_labels)
    indices = split_indices(train_count, test_count, config.select_on)[split]
    if not len(indices):
        raise UsageError(
            f"the run was selected on {config.select_on} and held out no images, so it has no split "
            f"{split!r}; choose --split test or train."
        )
    images, labels = images_of(dataset, split)
    if split == "test":
        indices = indices - train_count
    evaluation = evaluate(restored, images[indices], labels[indices])
    return {
        "arch": config.arch,
        "recipe": config.recipe.name,
        "seed": config.seed,
        "epoch": restored.epoch,
        "step": int(restored.state.step),
        "trained_on": config.dataset,
        "dataset": dataset.name,
        "data_source": dataset.source,
        "data_of_run": dataset.fingerprint == config.data_fingerprint,
        "split": split,
        **_figures(evaluation, indices),
    }


def images_of(dataset: Dataset, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """The images that a split is part of, and their labels."""
    if split == "test":
        return dataset.test_images, dataset.test_labels
    return dataset.train_images, dataset.train_labels


def _figures(evaluation: Evaluation, indices: Int32[np.ndarray, " n"]) -> dict[str, Any]:
    shares = evaluation.class_accuracies.tolist()
    return {
        "loss": evaluation.loss,
        "correct": evaluation.correct,
        "examples": len(evaluation.labels),
        "accuracy": evaluation.accuracy,
        "class_accuracies": [None if np.isnan(share) else share for share in shares],
        "confusion": evaluation.confusion.tolist(),
        "mistakes": [
            {
                "index": int(indices[i]),
                "label": int(evaluation.labels[i]),
                "prediction": int(evaluation.predictions[i]),
                "confidence": float(evaluation.confidences[i]),
            }
            for i in evaluation.mistakes
        ],
    }
