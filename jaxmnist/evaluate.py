"""What a trained network makes of a split: predictions, confusion matrix, mistakes."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float32, Float64, Int, Int32, UInt8

from jaxmnist import runs, train
from jaxmnist.checkpoints import RestoredRun
from jaxmnist.data import NUM_CLASSES, Dataset
from jaxmnist.data.splits import split_indices
from jaxmnist.errors import DataError, UsageError
from jaxmnist.recipes import Recipe

EVALUATION = "evaluation.json"

Split = Literal["train", "val", "test"]

# Larger batches leave the processor's cache.
_BATCH = 64


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
    state: train.TrainState,
    images: UInt8[np.ndarray, "n 28 28"],
    labels: Int32[np.ndarray, " n"],
    *,
    model: Any,
    recipe: Recipe,
) -> Evaluation:
    """Predicts every image exactly once, as they are: not augmented, in their order, whatever their number.

    Args:
        state: weights and running statistics; the computation takes place where they are.
        images: at least one.
        labels: their labels.
        model: the network.
        recipe: gives the normalisation.
    """
    return Evaluation(labels, *classify(state, images, model=model, recipe=recipe))


def classify(
    state: train.TrainState, images: UInt8[np.ndarray, "n 28 28"], *, model: Any, recipe: Recipe
) -> tuple[Int32[np.ndarray, " n"], Float32[np.ndarray, "n 10"]]:
    """Predictions and log-probabilities of images without labels; arguments as for `evaluate`."""
    count = len(images)
    padded = np.pad(images, ((0, -count % _BATCH), (0, 0), (0, 0)))
    predictions, log_probs = jax.device_get(_classify(state, padded, model=model, recipe=recipe))
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
    evaluation = evaluate(
        restored.state, images[indices], labels[indices], model=restored.model, recipe=config.recipe
    )
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


def require_data_of_run(config: runs.RunConfig, dataset: Dataset, run: Path) -> None:
    """Checks that a dataset is the one that a run was trained on.

    Raises:
        DataError: it is not.
    """
    if dataset.fingerprint != config.data_fingerprint:
        raise DataError(
            f"{run} was trained on other data than {dataset.source}: the fingerprints are "
            f"{config.data_fingerprint[:12]} and {dataset.fingerprint[:12]}; give --data-dir the original "
            f"files, or ask for these with --dataset {dataset.name}."
        )


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


@partial(jax.jit, static_argnames=("model", "recipe"))
def _classify(state: train.TrainState, images: Array, *, model: Any, recipe: Recipe) -> tuple[Array, Array]:
    no_labels, all_count = jnp.zeros(_BATCH, jnp.int32), jnp.ones(_BATCH)

    def outputs_of(batch: Array) -> Array:
        # The sums that depend on labels are not used, so the compiler leaves them out.
        return train.eval_step(state, train.Batch(batch, no_labels, all_count), model=model, recipe=recipe)[1]

    outputs = lax.map(outputs_of, images.reshape(-1, _BATCH, *images.shape[1:])).reshape(-1, NUM_CLASSES)
    # From the outputs, as in training: log-softmax can round two scores to one.
    return outputs.argmax(1).astype(jnp.int32), jax.nn.log_softmax(outputs)
