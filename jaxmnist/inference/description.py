"""What there is to say of a trained network, for its model card and its page."""

from typing import Any

from jaxmnist.data import CLOTHING, NUM_CLASSES, Dataset
from jaxmnist.data.mnist_style import INK_SIDE
from jaxmnist.inference.evaluate import evaluate_split, wilson_interval
from jaxmnist.models import count_params
from jaxmnist.train.network import Network


def describe(network: Network, dataset: Dataset) -> dict[str, Any]:
    """What there is to say of a network, as plain JSON values; it is evaluated on all test images."""
    figures = evaluate_split(network, dataset, "test")
    correct, examples = figures["correct"], figures["examples"]
    low, high = wilson_interval(correct, examples)
    config = network.config
    accuracy = (
        f"{correct:,} of the {examples:,} test images of {dataset.name} are classified correctly: "
        f"{figures['accuracy']:.2f} % (95 % interval {low:.2f} to {high:.2f} %)."
    )
    if config is None:
        training = (
            "How these weights were trained is not known, as they come from a file; images are normalised as by "
            f"the recipe {network.recipe.name!r}."
        )
    else:
        when = f"step {network.step}" if network.epoch is None else f"epoch {network.epoch}"
        weights = "those" if network.recipe.averaging is None else "the average over the steps, as it was"
        training = (
            f"Trained with jaxmnist on the training images of {config.dataset} by the recipe "
            f"{network.recipe.name!r} with seed {config.seed}; the weights are {weights} after {when}."
        )
        if config.select_on == "test" and config.dataset == dataset.name:
            accuracy += " The epoch was picked on these images, which flatters the figure a little."
        if config.select_on == "last" and config.dataset == dataset.name:
            accuracy += " Nothing was picked on these images: the weights are those of the last epoch."
        if figures["data_of_run"] is False:
            accuracy += f" The network was trained on other data: {config.dataset}."
    learned = config.dataset if config else "mnist"
    return {
        "arch": network.arch,
        "parameters": count_params(network.variables),
        "classes": list(CLOTHING) if learned == "fashion_mnist" else list(map(str, range(NUM_CLASSES))),
        "recipe": network.recipe.name,
        "mean": network.recipe.mean,
        "std": network.recipe.std,
        "deskew": network.recipe.deskew,
        "side": INK_SIDE.get(learned, 20),
        "trained_on": config.dataset if config else None,
        "dataset": dataset.name,
        "correct": correct,
        "examples": examples,
        "accuracy": figures["accuracy"],
        "accuracy_interval": [low, high],
        "class_accuracies": figures["class_accuracies"],
        "accuracy_text": accuracy,
        "training_text": training,
    }
