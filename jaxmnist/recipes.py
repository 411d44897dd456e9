"""Recipes: everything that decides a training run except the arch, the dataset and the seed.

A recipe is frozen and plain data, so it prints, hashes, compares and serialises as it stands. The
published ones follow section 4 of the sources' fact sheet; a value that a source leaves to the device
(batch 128 on CUDA, 64 elsewhere) is the one of its published log.
"""

import dataclasses
import math
from typing import Literal

from jaxmnist.errors import UsageError, unknown_name


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random changes to a training image, applied in the order of these fields; zero means none.

    All draws are uniform. Pixels are copied from their nearest neighbour, except by the elastic change, which
    is bilinear; what comes in from outside is 0 unless said otherwise.
    """

    perspective: float = 0.0
    """Distortion: each corner moves inwards by up to this share of half the side, in whole pixels."""
    perspective_probability: float = 0.5
    """Share of the images that the perspective changes."""
    rotation: float = 0.0
    """Largest angle in degrees, to either side."""
    rotation_fill: int = 0
    """Grey value (0-255) of pixels that a rotation brings in from outside."""
    translation: float = 0.0
    """Largest shift of each axis as a share of the image side; rounded to whole pixels."""
    scale: float = 0.0
    """Largest change of size: the factor is from [1 - scale, 1 + scale]."""
    shear: float = 0.0
    """Largest angle in degrees by which upright lines lean, to either side."""
    elastic: float = 0.0
    """Strength alpha of the elastic change: each pixel moves by alpha / 2 times its blurred noise."""
    elastic_sigma: float = 3.0
    """Standard deviation in pixels of the Gaussian that blurs the elastic change's noise."""

    def __post_init__(self) -> None:
        limits = {
            "perspective": (0, 1),
            "perspective_probability": (0, 1),
            "rotation": (0, 360),
            "rotation_fill": (0, 255),
            "translation": (0, 1),
            "scale": (0, 0.9),
            "shear": (0, 80),
            "elastic": (0, 1000),
            # The blur reaches four standard deviations; the border is mirrored once, 27 pixels.
            "elastic_sigma": (0.1, 6.7),
        }
        for field, (low, high) in limits.items():
            value = getattr(self, field)
            if not low <= value <= high:
                raise UsageError(
                    f"the augmentation has {field}={value!r}, which must be from {low} to {high}."
                )


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
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    """SGD with momentum (not Nesterov), Adam or AdamW (betas 0.9 and 0.999, epsilon 1e-8)."""
    learning_rate: float = 0.01
    """Learning rate at the start."""
    momentum: float = 0.9
    """Momentum of SGD: v = momentum v + g; w = w - learning_rate v. Adam and AdamW do not use it."""
    weight_decay: float = 0.0
    """Pull of every parameter towards 0: part of the gradient (L2) in SGD and Adam, decoupled in AdamW."""
    label_smoothing: float = 0.0
    """Share of the target that is spread evenly over all classes. Losses are reported without it."""
    plateau: Plateau | None = None
    """Learning-rate cuts; none keeps the rate constant."""
    augmentation: Augmentation = Augmentation()
    """Random changes to the training images."""
    repeat_epochs: bool = False
    """Every epoch repeats the first one's order and random draws: augmentation and dropout as well."""
    mean: float = 0.1307
    """Subtracted from pixels scaled to [0, 1]."""
    std: float = 0.3081
    """Divides the difference."""
    best_model: float = 0.0
    """Accuracy in percent that an epoch must reach to count as one to keep; see `ignored_epochs`."""
    ignored_epochs: int = 0
    """First epochs that do not count. Where no epoch counts, the best of all is kept and results say so."""
    default_seed: int = 1
    """Seed of runs that name none: the source's own."""

    def __post_init__(self) -> None:
        def require(field: str, holds: bool, wanted: str) -> None:
            if not holds:
                raise UsageError(
                    f"recipe {self.name!r} has {field}={getattr(self, field)!r}, which must be {wanted}."
                )

        for field in ("epochs", "batch_size", "learning_rate", "std"):
            require(field, getattr(self, field) > 0, "above 0")
        for field in ("learning_rate", "weight_decay", "mean", "std"):
            require(field, math.isfinite(getattr(self, field)), "finite")
        # More would run out of the step's 32 bits, or of memory.
        for field, most in (("epochs", 1_000_000), ("batch_size", 65_536)):
            require(field, getattr(self, field) <= most, f"at most {most:,}")
        for field in ("weight_decay", "ignored_epochs"):
            require(field, getattr(self, field) >= 0, "at least 0")
        for field in ("momentum", "label_smoothing"):
            require(field, 0 <= getattr(self, field) < 1, "at least 0 and below 1")
        require("best_model", 0 <= self.best_model <= 100, "a percentage")
        require("optimizer", self.optimizer in ("sgd", "adam", "adamw"), "'sgd', 'adam' or 'adamw'")


_first = Recipe("first", augmentation=Augmentation(rotation=8.0, rotation_fill=1, translation=0.1))
_challenge = Recipe(
    "challenge",
    batch_size=32,
    optimizer="adamw",
    learning_rate=0.001,
    weight_decay=1e-4,
    plateau=Plateau(factor=0.5, patience=3, min_lr=1e-6),
    augmentation=Augmentation(rotation=7.0, rotation_fill=1),
)
_step1 = Recipe("step1", batch_size=128)
_PUBLISHED = (
    _first,
    dataclasses.replace(_first, name="second"),
    dataclasses.replace(_first, name="third", plateau=Plateau(factor=0.5, patience=3)),
    Recipe(
        "dilated",
        batch_size=128,
        learning_rate=0.104704,  # what the source's range test picked; `--lr auto` runs such a test
        plateau=Plateau(factor=0.1, patience=1, threshold=0.01, min_lr=1e-4),
        augmentation=Augmentation(perspective=0.2, rotation=15.0),
        mean=0.130925,  # over all 70,000 images
        std=0.308449,
        best_model=99.3,
        ignored_epochs=3,
        default_seed=5,
    ),
    Recipe(
        "evolution",
        batch_size=128,
        optimizer="adam",
        learning_rate=0.02,
        weight_decay=1e-4,
        label_smoothing=0.05,
        plateau=Plateau(monitor="accuracy", factor=0.01, patience=1, min_lr=1e-8),
        augmentation=Augmentation(rotation=7.0, translation=0.1, scale=0.15, shear=10.0, elastic=10.0),
        repeat_epochs=True,
        mean=0.130660,
        std=0.308108,
        default_seed=42,
    ),
    _challenge,
    _step1,
    dataclasses.replace(
        _step1,
        name="step3",
        plateau=Plateau(factor=0.1, patience=2),
        augmentation=_challenge.augmentation,
    ),
)
_RECIPES = {recipe.name: recipe for recipe in _PUBLISHED}

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


def recipe_of(arch: str) -> Recipe:
    """The recipe that a network was published with: the one of its own name or of its family's."""
    return get_recipe(next(name for name in RECIPES if arch == name or arch.startswith(f"{name}_")))
