"""A trained network in use: module, weights, and the normalisation of its images."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float32, Int32, PyTree, UInt8

from jaxmnist.config import Recipe
from jaxmnist.config.run import RunConfig
from jaxmnist.data.dataset import DatasetInfo
from jaxmnist.errors import CheckpointError
from jaxmnist.models import Model
from jaxmnist.runtime.devices import Device
from jaxmnist.train.jit import EVAL_BATCH, build_programs


class Network(NamedTuple):
    """A network with its weights, from a run folder (`jaxmnist.runs`) or a weights file (`jaxmnist.runs.weights`)."""

    arch: str
    """Its name."""
    model: Model
    """Its module."""
    recipe: Recipe
    """The recipe, for its normalisation and augmentation."""
    variables: PyTree
    """The variables `params` and `batch_stats`, on the device."""
    device: Device
    """The device to compute on."""
    data_info: DatasetInfo = DatasetInfo()
    """Classes and preparation of the images it was trained on."""
    config: RunConfig | None = None
    """Configuration of its run; None for a weights file."""
    epoch: int | None = None
    """Epoch at whose end the weights were saved; None in the middle of one and for a weights file."""
    step: int | None = None
    """Training steps of the weights; None for a weights file."""
    temperature: float = 1.0
    """Divisor of the logits that calibrates the probabilities (Guo et al., 2017); 1 leaves them as they are."""

    @property
    def when(self) -> str:
        """Age of the weights of a run: `epoch 3`, or `step 1500` in the middle of an epoch."""
        return f"step {self.step}" if self.epoch is None else f"epoch {self.epoch}"

    def predict(
        self, images: UInt8[np.ndarray, "n 28 28"] | Float32[np.ndarray, "n 28 28"]
    ) -> tuple[Int32[np.ndarray, " n"], Float32[np.ndarray, "n classes"]]:
        """Predicts images, at least one.

        Args:
            images: grey values from 0 to 255.

        Returns:
            The likeliest class of each image, and the log-probabilities of all classes.

        Raises:
            CheckpointError: the weights, although finite, give values that are not.
        """
        count = len(images)
        # A single image does not wait for a whole batch; powers of two keep the programs few.
        batch = min(EVAL_BATCH, 1 << (count - 1).bit_length())
        padded = np.pad(images, ((0, -count % batch), (0, 0), (0, 0)))
        programs = build_programs(self.model, self.recipe, self.device)
        predictions, log_probs = jax.device_get(programs.predict_chunk(self.variables, padded))
        predictions, log_probs = predictions[:count], log_probs[:count]
        if wrong := int((~np.isfinite(log_probs)).any(axis=1).sum()):
            raise CheckpointError(
                f"the weights of {self.arch} give values that are not finite for {wrong:,} of {count:,} images; give "
                "other weights or train again."
            )
        return predictions, log_probs

    def probabilities(
        self, images: UInt8[np.ndarray, "n 28 28"] | Float32[np.ndarray, "n 28 28"]
    ) -> tuple[Int32[np.ndarray, " n"], Float32[np.ndarray, "n classes"]]:
        """Returns predictions and calibrated probabilities; otherwise like `predict`."""
        predictions, log_probs = self.predict(images)
        return predictions, calibrated(log_probs, self.temperature)


def calibrated(
    log_probs: Float32[np.ndarray, "n classes"], temperature: float
) -> Float32[np.ndarray, "n classes"]:
    """Returns the softmax of logits divided by a temperature; the likeliest class stays the same."""
    if temperature == 1:
        return np.exp(log_probs)
    powers = np.exp((log_probs - log_probs.max(axis=1, keepdims=True)) / np.float32(temperature))
    return powers / powers.sum(axis=1, keepdims=True)
