"""Inference: a network that is ready for use, wherever its weights come from, and what it says of images."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float32, Int32, UInt8

from jaxmnist.config import Recipe
from jaxmnist.config.run import RunConfig
from jaxmnist.runtime.devices import Device
from jaxmnist.train.jit import EVAL_BATCH, build_programs


class Network(NamedTuple):
    """A network with its weights, of a run (`jaxmnist.runs`) or of a file (`jaxmnist.runs.weights`)."""

    arch: str
    model: Any
    """The linen module of that arch."""
    recipe: Recipe
    """Decides the normalisation, and the augmentation where one is asked for."""
    variables: Any
    """What the module applies, `params` and `batch_stats`, on the device."""
    device: Device
    config: RunConfig | None = None
    """The run that trained it; None where that is not known."""
    epoch: int | None = None
    """Epoch at whose end the weights were saved; None in the middle of one, or where that is not known."""
    step: int | None = None
    """Steps that made the weights; None where that is not known."""

    def predict(
        self, images: UInt8[np.ndarray, "n 28 28"] | Float32[np.ndarray, "n 28 28"]
    ) -> tuple[Int32[np.ndarray, " n"], Float32[np.ndarray, "n classes"]]:
        """Predicts images, at least one.

        Args:
            images: grey values from 0 to 255.

        Returns:
            The likeliest class of each image, and the log-probabilities of all classes.
        """
        count = len(images)
        # A single image does not wait for a whole batch; powers of two keep the programs few.
        batch = min(EVAL_BATCH, 1 << (count - 1).bit_length())
        padded = np.pad(images, ((0, -count % batch), (0, 0), (0, 0)))
        programs = build_programs(self.model, self.recipe, self.device)
        predictions, log_probs = jax.device_get(programs.predict_chunk(self.variables, padded))
        return predictions[:count], log_probs[:count]
