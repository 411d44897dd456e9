"""Description of a trained network for its model card and its page."""

import dataclasses
from typing import Any

from jaxmnist.data import CLOTHING, NUM_CLASSES, Dataset
from jaxmnist.data.mnist_style import INK_SIDE
from jaxmnist.inference.evaluate import Evaluation, evaluate_split, wilson_interval
from jaxmnist.models import count_params
from jaxmnist.train.network import Network


@dataclasses.dataclass(frozen=True, kw_only=True)
class Description:
    """A trained network in figures and sentences, as plain values. Accuracies are percentages of test images."""

    arch: str
    """Name of the network."""
    parameters: int
    """Number of trainable parameters."""
    classes: list[str]
    """Names of the classes."""
    recipe: str
    """Name of the recipe."""
    mean: float
    """Mean that normalisation subtracts, for pixels from 0 to 1."""
    std: float
    """Standard deviation that normalisation divides by."""
    deskew: bool
    """True if the network makes images upright first."""
    side: int
    """Longer side, in pixels, of the ink in the images the network was trained on."""
    trained_on: str | None
    """Dataset of its run; None for a weights file."""
    dataset: str
    """Dataset it was evaluated on."""
    correct: int
    """Number of test images classified correctly."""
    examples: int
    """Number of test images."""
    accuracy: float
    """Share of the test images classified correctly."""
    accuracy_interval: tuple[float, float]
    """95 % interval of the accuracy."""
    class_accuracies: list[float | None]
    """Accuracy on the images of each class; None for a class without images."""
    accuracy_text: str
    """The accuracy in a sentence or two."""
    training_text: str
    """The training in a sentence or two."""

    def as_json(self) -> dict[str, Any]:
        """Returns the fields as plain JSON values."""
        return dataclasses.asdict(self)


def describe(network: Network, dataset: Dataset) -> Description:
    """Evaluates a network on all test images of a dataset and describes it."""
    evaluation = evaluate_split(network, dataset, "test")
    recipe, trained_on = network.recipe, evaluation.trained_on
    learned = trained_on or "mnist"
    return Description(
        arch=network.arch,
        parameters=count_params(network.variables),
        classes=list(CLOTHING) if learned == "fashion_mnist" else list(map(str, range(NUM_CLASSES))),
        recipe=recipe.name,
        mean=recipe.mean,
        std=recipe.std,
        deskew=recipe.deskew,
        side=INK_SIDE.get(learned, 20),
        trained_on=trained_on,
        dataset=dataset.name,
        correct=evaluation.correct,
        examples=evaluation.examples,
        accuracy=evaluation.accuracy,
        accuracy_interval=wilson_interval(evaluation.correct, evaluation.examples),
        class_accuracies=evaluation.class_accuracies,
        accuracy_text=_accuracy_text(network, evaluation),
        training_text=_training_text(network),
    )


def _accuracy_text(network: Network, evaluation: Evaluation) -> str:
    low, high = wilson_interval(evaluation.correct, evaluation.examples)
    text = (
        f"{evaluation.correct:,} of the {evaluation.examples:,} test images of {evaluation.dataset} are classified "
        f"correctly: {evaluation.accuracy:.2f} % (95 % interval {low:.2f} to {high:.2f} %)."
    )
    if network.config and evaluation.trained_on == evaluation.dataset:
        if network.config.select_on == "test":
            text += " The epoch was picked on these images, which flatters the figure a little."
        if network.config.select_on == "last":
            text += " Nothing was picked on these images: the weights are those of the last epoch."
    if evaluation.data_of_run is False:
        text += f" The network was trained on other data: {evaluation.trained_on}."
    return text


def _training_text(network: Network) -> str:
    name = network.recipe.name
    if network.config is None:
        return (
            "How these weights were trained is not known, as they come from a file; images are normalised as by "
            f"the recipe {name!r}."
        )
    when = f"step {network.step}" if network.epoch is None else f"epoch {network.epoch}"
    weights = "those" if network.recipe.averaging is None else "the average over the steps, as it was"
    return (
        f"Trained with jaxmnist on the training images of {network.config.dataset} by the recipe {name!r} with "
        f"seed {network.config.seed}; the weights are {weights} after {when}."
    )
