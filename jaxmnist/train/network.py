"""A trained network in use: module, weights, and the normalisation of its images."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float32, Int32, PyTree, UInt8

from jaxmnist.config import Recipe
from jaxmnist.config.run import RunConfig
from jaxmnist.data.dataset import DatasetInfo
from jaxmnist.errors import CheckpointError
from jaxmnist.models import Model, create_model
from jaxmnist.runtime.devices import Device, device_like, use_compile_cache
from jaxmnist.runtime.forks import require_own_jax
from jaxmnist.runtime.jax_settings import own_settings
from jaxmnist.runtime.mesh import DATA, along, every_core, everywhere, mesh_shape, put
from jaxmnist.train.jit import EVAL_BATCH, build_programs

CHUNK_IMAGES = 1024
"""Most images for a device in a call of the predicting program; their number is a power of two, so programs are
few."""


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
    training: str | None = None
    """Sentence on its training, from the metadata of a weights file."""
    temperature: float = 1.0
    """Divisor of the logits that calibrates the probabilities (Guo et al., 2017); 1 leaves them as they are."""

    @property
    def when(self) -> str:
        """Age of the weights of a run: `epoch 3`, or `step 1500` in the middle of an epoch."""
        return f"step {self.step}" if self.epoch is None else f"epoch {self.epoch}"

    @own_settings()
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
            UsageError: the process was forked after JAX had started.
        """
        require_own_jax()
        count = len(images)
        where = self.device if count <= EVAL_BATCH else every_core(self.device)
        devices = mesh_shape(where).devices
        size = min(CHUNK_IMAGES, 1 << (-(-count // devices) - 1).bit_length()) * devices
        padded = np.pad(images, ((0, -count % size), (0, 0), (0, 0)))
        program = build_programs(self.model, self.recipe, where).predict_chunk
        variables = put(self.variables, everywhere(where))
        parts = [
            program(variables, put(padded[i : i + size], along(where, DATA))) for i in range(0, count, size)
        ]
        predictions, log_probs = (
            np.concatenate(outputs)[:count] for outputs in zip(*jax.device_get(parts), strict=True)
        )
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

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the weights as NumPy arrays and what makes the module, instead of the module and the device."""
        parts = self._asdict() | {"variables": jax.device_get(self.variables), "model": None, "device": None}
        return _unpickled, (self.device.platform, parts)


def calibrated(
    log_probs: Float32[np.ndarray, "n classes"], temperature: float
) -> Float32[np.ndarray, "n classes"]:
    """Returns the softmax of logits divided by a temperature; the likeliest class stays the same."""
    if temperature == 1:
        return np.exp(log_probs)
    powers = np.exp((log_probs - log_probs.max(axis=1, keepdims=True)) / np.float32(temperature))
    return powers / powers.sum(axis=1, keepdims=True)


def _unpickled(platform: str, parts: dict[str, Any]) -> Network:
    """Makes a network on this process's device of the platform, or the one that JAX prefers if there is none."""
    device = device_like(platform)
    use_compile_cache()
    config = parts["config"]
    if config is None:
        model = create_model(parts["arch"], num_classes=len(parts["data_info"].classes))
    else:
        model = config.create_model()
    return Network(
        **parts | {"model": model, "device": device, "variables": jax.device_put(parts["variables"], device)}
    )
