"""Recipes: everything that decides a training run except the arch, the dataset and the seed.

A recipe is frozen and plain data, so it prints, hashes, compares and serialises as it stands. The
published ones follow section 4 of the sources' fact sheet; a value that a source leaves to the device
(batch 128 on CUDA, 64 elsewhere) is the one of its published log.
"""

import dataclasses
from typing import Literal

from jaxmnist.errors import UsageError, unknown_name


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random changes to a training image, applied in the order of these fields; zero means none."""

    rotation: float = 0.0
    """Largest angle in degrees; drawn uniformly from [-rotation, rotation], nearest neighbour."""
    rotation_fill: int = 0
    """Grey value (0-255) of pixels that a rotation brings in from outside."""
    translation: float = 0.0
    """Largest shift of each axis as a share of the image side; rounded to whole pixels, filled with 0."""


@dataclasses.dataclass(frozen=True)
class Plateau:
    """When to cut the learning rate; semantics of `torch.optim.lr_scheduler.ReduceLROnPlateau`."""

    monitor: Literal["loss", "accuracy"] = "loss"
    """Watched metric of the selection split: loss (smaller is better) or accuracy in percent (larger)."""
    factor: float = 0.1
    """What the learning rate is multiplied by at a cut."""
    patience: int = 10
    """Epochs without improvement that are tolerated; the next one cuts."""
    threshold: float = 1e-4
    """Smallest relative change that counts as an improvement."""
    min_lr: float = 0.0
    """The learning rate never goes below this."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to train, whatever the arch, the dataset and the seed."""

    name: str
    """Its own name, as given to `--recipe`."""
    epochs: int = 15
    """Passes over the training images."""
    batch_size: int = 64
    """Images per step; the last batch of an epoch may be smaller."""
    learning_rate: float = 0.01
    """Learning rate at the start."""
    momentum: float = 0.9
    """Momentum of SGD, not Nesterov: v = momentum v + g; w = w - learning_rate v."""
    plateau: Plateau | None = None
    """Learning-rate cuts; none keeps the rate constant."""
    augmentation: Augmentation = Augmentation()
    """Random changes to the training images."""
    mean: float = 0.1307
    """Subtracted from pixels scaled to [0, 1]."""
    std: float = 0.3081
    """Divides the difference."""

    def __post_init__(self) -> None:
        positive = ("epochs", "batch_size", "learning_rate", "std")
        for field in positive:
            value = getattr(self, field)
            if not value > 0:
                raise UsageError(f"recipe {self.name!r} has {field}={value}, which must be above 0.")


_first = Recipe(
    name="first",
    augmentation=Augmentation(rotation=8.0, rotation_fill=1, translation=0.1),
)
_RECIPES = {
    recipe.name: recipe
    for recipe in (
        _first,
        dataclasses.replace(_first, name="second"),
        dataclasses.replace(_first, name="third", plateau=Plateau(factor=0.5, patience=3)),
    )
}

RECIPES: tuple[str, ...] = tuple(_RECIPES)
"""Names of all recipes."""


def get_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        UsageError: no recipe has that name; the message lists those that exist.
    """
    if name in _RECIPES:
        return _RECIPES[name]
    raise unknown_name("recipe", name, RECIPES)
