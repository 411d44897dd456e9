"""A trained network in Python: `jaxmnist.load` opens it to predict, evaluate and plot."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float32, Int32, UInt8
from PIL import Image

from jaxmnist.data.grey_values import grey_values_of
from jaxmnist.data.images import from_pillow, grey_of_pillow, read_grey, read_image
from jaxmnist.data.mnist_style import Ink
from jaxmnist.data.splits import Split
from jaxmnist.errors import UsageError
from jaxmnist.inference.evaluate import Evaluation, evaluate_split
from jaxmnist.inference.opening import Checkpoint, dataset_of, open_network
from jaxmnist.inference.predict import preparation
from jaxmnist.inference.reading import Reading, read_digits
from jaxmnist.pretrained import locate
from jaxmnist.runs.notebook import facts_html, table_html
from jaxmnist.runs.record import read_record, read_results
from jaxmnist.runs.selection import Results
from jaxmnist.runtime.devices import DeviceChoice, select_device, use_compile_cache
from jaxmnist.runtime.jax_settings import own_settings
from jaxmnist.train.network import Network

if TYPE_CHECKING:
    from jaxmnist.runs.curves import Curves

Images = ArrayLike | str | os.PathLike[str] | Image.Image | Sequence[Any]
"""Images in any form that `Classifier.predict` takes."""


_MOST_SHOWN = 10  # predictions in a notebook


class Prediction(NamedTuple):
    """Predictions for n images."""

    predictions: Int32[np.ndarray, " n"]
    """The likeliest class of each image."""
    probabilities: Float32[np.ndarray, "n classes"]
    """Probability of each class, in [0, 1]."""

    def _repr_html_(self) -> str:
        likeliest = self.probabilities.max(axis=1, initial=0)
        first = list(enumerate(zip(self.predictions, likeliest, strict=True)))[:_MOST_SHOWN]
        rest = len(self.predictions) - len(first)
        title = f"{len(self.predictions):,} predictions" + (f", the first {len(first)}" if rest else "")
        rows = [(image, prediction, f"{share:.4f}") for image, (prediction, share) in first]
        return table_html(title, ("image", "class", "probability"), rows)


@dataclasses.dataclass(frozen=True, eq=False)
class Classifier:
    """A trained network, from a run folder or a weights file; see `jaxmnist.load` and `jaxmnist.train_run`."""

    path: Path
    """The run folder or weights file."""
    network: Network = dataclasses.field(repr=False)
    """Its module, variables, recipe, device, and the configuration of its run."""

    @property
    def arch(self) -> str:
        """Name of the network."""
        return self.network.arch

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; a prediction is a position among them."""
        return self.network.data_info.classes

    @property
    def results(self) -> Results | None:
        """Final figures of the run; None for a weights file or before training ended."""
        return None if self.network.config is None else read_results(self.path)

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """Lines of the run's `metrics.jsonl`, one per epoch; none for a weights file."""
        return [] if self.network.config is None else read_record(self.path).rows

    def predict(self, images: Images, ink: Ink = "auto") -> Prediction:
        """Predicts images.

        Args:
            images: an array `[n, 28, 28]` of grey values, or `[28, 28]` for one image, light ink on dark as in the
                datasets: integers from 0 to 255, or floats from 0 to 1 or, if any is above 1, to 255; it is taken as it
                is. Or the path of an image file, or an image open in Pillow, of any size, which is prepared as the
                training images were, see `jaxmnist.data.fitting.to_28x28`. Or a sequence of any of these.
            ink: brightness of the ink in files and in Pillow's images; see
                `jaxmnist.inference.predict.preparation`.

        Raises:
            DataError: an array has another shape or other values; a file cannot be read.

        Example:
            >>> network.predict(data.test_images[:5]).probabilities.shape
            (5, 10)

        """
        found = self._images(images, ink)
        if not len(found):
            return Prediction(np.zeros(0, np.int32), np.zeros((0, len(self.classes)), np.float32))
        return Prediction(*self.network.probabilities(found))

    def read(
        self, image: str | os.PathLike[str] | Image.Image, ink: Ink = "auto", *, touching: bool = False
    ) -> Reading:
        """Reads several digits in one picture: their boxes, probabilities and lines; see `read_digits`.

        Args:
            image: path of an image file, or an image open in Pillow.
            ink: brightness of the ink.
            touching: True if digits touch.

        Raises:
            DataError: the file cannot be read.
            UsageError: the network was not trained on digits.

        Example:
            >>> from PIL import Image
            >>> reading = network.read(Image.fromarray(data.test_images[0]))

        """
        grey = grey_of_pillow(image) if isinstance(image, Image.Image) else read_grey(Path(image))
        return read_digits(self.network, grey, ink, touching)

    def evaluate(
        self,
        split: Split = "test",
        *,
        dataset: str | os.PathLike[str] | None = None,
        data_dir: str | Path | None = None,
    ) -> Evaluation:
        """Evaluates the network on a split; the command `evaluate` writes the same figures to `evaluation.json`.

        Args:
            split: the images; `val` are those that the run held out.
            dataset: name or path of the dataset; by default that of the run or weights file.
            data_dir: folder with the four IDX files.

        Raises:
            UsageError: there is no such dataset, or the split is empty.
            DataError: the data are missing or damaged, or not those of the run although no dataset is named.

        Example:
            >>> network.evaluate("test").examples
            297

        """
        return evaluate_split(self.network, dataset_of(self.network, self.path, dataset, data_dir), split)

    def plot(self) -> "Curves":
        """Draws loss, accuracy and learning rate over the epochs into the run's `plots/`.

        Returns:
            The files, a list that shows the pictures in a notebook; its `figures` are Matplotlib's.

        Raises:
            UsageError: the network is that of a weights file, which has no epochs to draw.
            OSError: the files cannot be written.
        """
        from jaxmnist.runs.curves import save_curves  # matplotlib takes half a second to import

        if self.network.config is None:
            raise UsageError(f"{self.path} is a weights file and has no epochs to plot; load a run folder.")
        return save_curves(self.path)

    def _repr_html_(self) -> str:
        results, rows = self.results, self.metrics
        facts = {"path": self.path, "classes": len(self.classes), "epochs": len(rows) or None}
        if results is not None:
            facts |= {
                "parameters": f"{results.parameters:,}",
                "kept epoch": results.best_epoch,
                "its test accuracy": f"{results.test_accuracy_of_best:.2f} %",
                "seconds": results.seconds,
            }
        return facts_html(self.arch, {name: value for name, value in facts.items() if value is not None})

    def _images(
        self, images: Images, ink: Ink
    ) -> UInt8[np.ndarray, "n 28 28"] | Float32[np.ndarray, "n 28 28"]:
        if isinstance(images, str | os.PathLike):
            return read_image(Path(images), *preparation(self.network.data_info, ink))[None]
        if isinstance(images, Image.Image):
            return from_pillow(images, *preparation(self.network.data_info, ink))[None]
        if isinstance(images, Sequence):
            parts = [self._images(image, ink) for image in images]
            return np.concatenate(parts) if parts else np.zeros((0, 28, 28), np.uint8)
        return grey_values_of(np.asarray(images))


@own_settings()
def load(
    path: str | os.PathLike[str],
    *,
    checkpoint: Checkpoint = "best",
    arch: str | None = None,
    recipe: str | None = None,
    device: DeviceChoice = "auto",
) -> Classifier:
    """Opens a trained network; from then on JAX computes on its device and caches compiled programs.

    Args:
        path: run folder, weights file (`.npz` or `.safetensors`), or name of a trained network that comes with the
            package, one of `jaxmnist.pretrained.PRETRAINED`.
        checkpoint: checkpoint of the run.
        arch: network of a weights file, by default the one whose names and shapes the file has; or the class of a
            run's own network that has moved.
        recipe: recipe for the normalisation of a weights file's images; by default the network's own.
        device: device to compute on; auto prefers an accelerator.

    Raises:
        CheckpointError: the run or the file is missing, damaged or of another arch.
        UsageError: an option for weights files is given with a run, or the other way round; or there is no such
            device, arch or recipe.

    Example:
        >>> network = jaxmnist.load(run.path)
        >>> network.arch
        'second'

    """
    place, where = locate(Path(path)), select_device(device)
    use_compile_cache()
    return Classifier(place, open_network(place, where, checkpoint, arch, recipe))
