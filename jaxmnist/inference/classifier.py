"""A trained network in Python: `jaxmnist.load` opens one, to predict, evaluate and plot."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, Int32, UInt8
from PIL import Image

from jaxmnist.data import Dataset, load_dataset
from jaxmnist.data.images import from_pillow, read_image
from jaxmnist.data.mnist_style import Ink
from jaxmnist.data.splits import Split
from jaxmnist.errors import DataError, UsageError
from jaxmnist.inference.evaluate import Evaluation, evaluate_split
from jaxmnist.inference.predict import ink_side
from jaxmnist.runs.folder import read_metrics, read_results, require_data_of_run
from jaxmnist.runs.restore import restore_run
from jaxmnist.runs.selection import Results
from jaxmnist.runs.weights import read_weights
from jaxmnist.runtime.devices import Device, DeviceChoice, select_device, use_compile_cache
from jaxmnist.train.network import Network

Checkpoint = Literal["best", "latest"]


class Prediction(NamedTuple):
    """What a network says of n images."""

    predictions: Int32[np.ndarray, " n"]
    """The likeliest class of each."""
    probabilities: Float32[np.ndarray, "n 10"]
    """Of each class, from 0 to 1."""


@dataclasses.dataclass(frozen=True, eq=False)
class Classifier:
    """A trained network, of a run or of a weights file. Made by `jaxmnist.load` and `jaxmnist.train_run`."""

    path: Path
    """The run folder or weights file."""
    network: Network = dataclasses.field(repr=False)
    """What it consists of: module, variables, recipe, device, and the configuration of its run."""

    @property
    def arch(self) -> str:
        """Name of the network."""
        return self.network.arch

    @property
    def results(self) -> Results | None:
        """Final figures of the run; None for a weights file or before training ended."""
        return None if self.network.config is None else read_results(self.path)

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The lines of the run's `metrics.jsonl`, one per epoch; a weights file has none."""
        return [] if self.network.config is None else read_metrics(self.path)

    def predict(self, images: Any, ink: Ink = "auto") -> Prediction:
        """Classifies images.

        Args:
            images: an array `[n, 28, 28]` of grey values, or `[28, 28]` for one image, light ink on dark as in
                the datasets: integers from 0 to 255, or floats from 0 to 1 or, where one is above 1, to 255.
                It is taken as it is. Or an image file's path, or an image open in Pillow, of any size, which is
                fitted in as `jaxmnist.data.mnist_style.to_mnist_style` says. Or a sequence of any of these.
            ink: whether files and Pillow's images have light or dark ink.

        Raises:
            DataError: an array has another shape or other values; a file cannot be read.
        """
        found = self._images(images, ink)
        if not len(found):
            return Prediction(np.zeros(0, np.int32), np.zeros((0, 10), np.float32))
        predictions, log_probs = self.network.predict(found)
        return Prediction(predictions, np.exp(log_probs))

    def evaluate(
        self, split: Split = "test", *, dataset: str | None = None, data_dir: str | Path | None = None
    ) -> Evaluation:
        """Evaluates the network on a split; the command `evaluate` writes the same figures to `evaluation.json`.

        Args:
            split: which images; `val` are those that a run held out.
            dataset: its name; by default the one that the run was trained on, for a weights file mnist.
            data_dir: folder with the four IDX files.

        Raises:
            UsageError: there is no such dataset, or the split is empty.
            DataError: the data are missing, damaged, or not those of the run although no dataset was named.
        """
        data = data_for(self.network, self.path, dataset, data_dir)
        return evaluate_split(self.network, data, split)

    def plot(self) -> list[Path]:
        """Draws loss, accuracy and learning rate over the epochs into the run's `plots/`; returns the files.

        Raises:
            UsageError: a weights file has no epochs to draw.
            OSError: the files cannot be written.
        """
        from jaxmnist.runs.curves import save_curves  # matplotlib takes half a second to import

        if self.network.config is None:
            raise UsageError(
                f"{self.path} is a weights file, which has no epochs to plot; load a run folder."
            )
        return save_curves(self.path)

    def _images(self, images: Any, ink: Ink) -> UInt8[np.ndarray, "n 28 28"] | Float32[np.ndarray, "n 28 28"]:
        if isinstance(images, str | os.PathLike):
            return read_image(Path(images), ink, ink_side(self.network))[None]
        if isinstance(images, Image.Image):
            return from_pillow(images, ink, ink_side(self.network))[None]
        if isinstance(images, Sequence):
            parts = [self._images(image, ink) for image in images]
            same = len({part.dtype for part in parts}) == 1
            parts = parts if same else [part.astype(np.float32) for part in parts]
            return np.concatenate(parts) if parts else np.zeros((0, 28, 28), np.uint8)
        return _grey_values(np.asarray(images))


def load(
    path: str | os.PathLike[str],
    *,
    checkpoint: Checkpoint = "best",
    arch: str | None = None,
    recipe: str | None = None,
    device: DeviceChoice = "auto",
) -> Classifier:
    """Opens a trained network. JAX computes on its device from then on, and keeps what it compiles.

    Args:
        path: folder that training made, or file of weights (`.npz`).
        checkpoint: which of a run's two.
        arch: network of a weights file; by default the one whose names and shapes the file has.
        recipe: how a weights file's network wants images normalised; by default its own.
        device: where to compute; auto prefers any accelerator.

    Raises:
        CheckpointError: the run or the file is missing, damaged or of another arch.
        UsageError: an option for weights files was given with a run, or the other way round; or there is no
            such device, arch or recipe.
    """
    where = select_device(device)
    use_compile_cache()
    path = Path(path)
    return Classifier(path, open_network(path, where, checkpoint, arch, recipe))


def open_network(
    path: Path,
    device: Device,
    checkpoint: Checkpoint = "best",
    arch: str | None = None,
    recipe: str | None = None,
) -> Network:
    """The network of a run folder or weights file; arguments and errors as for `load`."""
    if is_weights(path):
        if checkpoint != "best":
            raise UsageError(f"{path} is a weights file, not a run; leave out --checkpoint.")
        return read_weights(path, device, arch, recipe)
    if recipe is not None:
        raise UsageError(f"{path} is a run, which has its own recipe; leave out --recipe.")
    return restore_run(path, checkpoint, device, arch).network


def is_weights(path: Path) -> bool:
    """Whether that is a weights file, which need not be there, instead of a run."""
    return path.suffix == ".npz" or path.is_file()


def data_for(
    network: Network, path: Path, dataset: str | None = None, data_dir: str | Path | None = None
) -> Dataset:
    """What a network is evaluated on: the dataset of that name, or without one the data of its run.

    Raises:
        UsageError: there is no such dataset.
        DataError: the data are missing or damaged, or those of the run are to be had no more.
    """
    config = network.config
    data = load_dataset(dataset or (config.dataset if config else "mnist"), data_dir)
    if dataset is None and config is not None:
        require_data_of_run(config, data, path)
    return data


def _grey_values(
    values: np.ndarray,
) -> UInt8[np.ndarray, "n 28 28"] | Float32[np.ndarray, "n 28 28"]:
    """Returns an array of images as grey values from 0 to 255, `[n, 28, 28]`."""
    if values.shape[-2:] != (28, 28) or values.ndim not in (2, 3):
        raise DataError(
            f"the images are an array of shape {values.shape}, which must be [n, 28, 28] or [28, 28]; "
            "images of other sizes are fitted in when given as files or Pillow's images."
        )
    values = values.reshape(-1, 28, 28)
    if values.dtype == np.uint8 or not values.size:
        return values.astype(np.uint8)
    if values.dtype.kind not in "biuf":
        raise DataError(f"the images are an array of {values.dtype}; give integers or floats.")
    low, high = float(values.min()), float(values.max())
    # Also true where one is not a number.
    if not (low >= 0 and high <= 255):
        raise DataError(
            f"the images have values from {low:g} to {high:g}, which must be from 0 to 1 or to 255, "
            "as they are before they are normalised."
        )
    is_share = values.dtype.kind == "b" or (values.dtype.kind == "f" and high <= 1)
    return values.astype(np.float32) * np.float32(255 if is_share else 1)
