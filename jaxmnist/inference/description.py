"""Description of a trained network for its model card and its page."""

import dataclasses
from typing import Any

from jaxmnist.data.dataset import dataset_title
from jaxmnist.inference.evaluate import Evaluation, wilson_interval
from jaxmnist.models import arch_title, count_params
from jaxmnist.train.network import Network


@dataclasses.dataclass(frozen=True, eq=False)
class Description:
    """A trained network in figures and sentences."""

    network: Network
    """The network."""
    evaluation: Evaluation
    """Its evaluation on the test images of a dataset."""

    @property
    def title(self) -> str:
        """The network's name."""
        return arch_title(self.network.arch)

    @property
    def parameters(self) -> int:
        """Number of trainable parameters."""
        return count_params(self.network.variables)

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return list(self.network.data_info.classes)

    @property
    def accuracy_interval(self) -> tuple[float, float]:
        """95 % interval of the accuracy, in percent."""
        return wilson_interval(self.evaluation.correct, self.evaluation.examples)

    @property
    def accuracy_text(self) -> str:
        """The accuracy in a sentence or two."""
        found, (low, high) = self.evaluation, self.accuracy_interval
        text = (
            f"{found.correct:,} of the {found.examples:,} test images of {found.dataset} are classified correctly: "
            f"{found.accuracy:.2f} % (95 % interval {low:.2f} to {high:.2f} %)."
        )
        if self.network.config and found.trained_on == found.dataset:
            if self.network.config.select_on == "test":
                text += " The epoch was picked on these images, which flatters the figure a little."
            if self.network.config.select_on == "last":
                text += " Nothing was picked on these images: the weights are those of the last epoch."
        if found.data_of_run is False:
            text += f" The network was trained on other data: {found.trained_on}."
        return text

    @property
    def training_text(self) -> str:
        """The training in a sentence or two."""
        config, recipe = self.network.config, self.network.recipe
        if self.network.training is not None:
            return self.network.training
        if config is None:
            return (
                "The training of these weights is not known, as they come from a file; images are normalised as by "
                f"the recipe {recipe.name!r}."
            )
        weights = "those" if recipe.averaging is None else "the average over the steps, as it was"
        return (
            f"Trained with jaxmnist on the training images of {dataset_title(config.dataset)} by the recipe "
            f"{recipe.name!r} with seed {config.seed}; the weights are {weights} after {self.network.when}."
        )

    def as_json(self) -> dict[str, Any]:
        """Returns the description as plain JSON values."""
        recipe, evaluation = self.network.recipe, self.evaluation
        return {
            "arch": self.title,
            "parameters": self.parameters,
            "classes": self.classes,
            "recipe": recipe.name,
            "mean": recipe.mean,
            "std": recipe.std,
            "deskew": recipe.deskew,
            "rescale": recipe.rescale,
            "tilt": recipe.tilt,
            "fit": self.network.data_info.fit,
            "inverted": self.network.data_info.inverted,
            "side": self.network.data_info.ink_side,
            "is_digits": self.network.data_info.is_digits,
            "temperature": self.network.temperature,
            "trained_on": evaluation.trained_on,
            "dataset": evaluation.dataset,
            "correct": evaluation.correct,
            "examples": evaluation.examples,
            "accuracy": evaluation.accuracy,
            "accuracy_interval": list(self.accuracy_interval),
            "class_accuracies": evaluation.class_accuracies,
            "accuracy_text": self.accuracy_text,
            "training_text": self.training_text,
        }
