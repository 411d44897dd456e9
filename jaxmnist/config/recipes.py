"""All recipes by name.

The published ones follow section 4 of the sources' fact sheet. A value that a source leaves to the device (batch 128
on CUDA, 64 elsewhere) is the one of its published log. `flagship`, `fast`, `sprint`, `dash` and `tiny` are the
project's own.
"""

import dataclasses

from jaxmnist.config.recipe import Recipe
from jaxmnist.config.recipe_parts import Augmentation, Averaging, Plateau, Schedule
from jaxmnist.errors import unknown_name

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
_evolution = Recipe(
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
)
_step1 = Recipe("step1", batch_size=128)
_PUBLISHED = (
    _first,
    dataclasses.replace(_first, name="second"),
    dataclasses.replace(_first, name="third", plateau=Plateau(factor=0.5, patience=3)),
    Recipe(
        "dilated",
        batch_size=128,
        learning_rate=0.104704,  # picked by the source's range test; `--lr auto` runs such a test
        plateau=Plateau(factor=0.1, patience=1, threshold=0.01, min_lr=1e-4),
        augmentation=Augmentation(perspective=0.2, rotation=15.0),
        mean=0.130925,  # over all 70,000 images
        std=0.308449,
        best_model=99.3,
        ignored_epochs=3,
        default_seed=5,
    ),
    _evolution,
    # The sources' second script; it keeps the best epoch by training accuracy, which is not followed.
    dataclasses.replace(
        _evolution,
        name="evolution_one_cycle",
        learning_rate=0.01,
        label_smoothing=0.0,
        plateau=None,
        schedule=Schedule(warm_up=0.3, start_divisor=10.0, end_divisor=1000.0),
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
# Chosen on held-out training images only; docs/accuracy.md gives the effect of each part.
_flagship = Recipe(
    "flagship",
    learning_rate=0.1,
    weight_decay=1e-4,
    decay_on="kernels",
    nesterov=True,
    schedule=Schedule(),
    averaging=Averaging(),
    dropout=0.0,
    deskew=True,
    tilt=15.0,
    augmentation=Augmentation(rotation=10.0, translation=0.04, scale=0.1, interpolation="bilinear"),
)
# Networks of 1,500 parameters and fewer underfit: what holds others back from overfitting only costs them accuracy.
_tiny = dataclasses.replace(
    _flagship,
    name="tiny",
    epochs=40,
    learning_rate=0.2,
    weight_decay=0.0,
    rescale=True,
    tilt=0.0,
    augmentation=Augmentation(rotation=5.0, translation=0.02, scale=0.05, interpolation="bilinear"),
)
# For little time, also in use: images are seen once.
_fast = dataclasses.replace(_flagship, name="fast", epochs=5, tilt=0.0)
# The shortest trainings, of `flagship_small`, to a mean of 99.40 and of 99.00.
_sprint = dataclasses.replace(_fast, name="sprint", epochs=3)
_dash = dataclasses.replace(_fast, name="dash", epochs=1)
_OWN = (_flagship, _fast, _sprint, _dash, _tiny)
_TINY = ("flagship_1500", "flagship_1000", "flagship_850", "flagship_500")
_RECIPES = {recipe.name: recipe for recipe in (*_PUBLISHED, *_OWN)}

RECIPES: tuple[str, ...] = tuple(_RECIPES)
"""Names of all recipes."""

DEFAULT_RECIPE = "third"
"""Recipe of networks without one of their own; it needs neither batch normalisation nor many epochs."""


def get_recipe(name: str) -> Recipe:
    """Returns a recipe by its name.

    Raises:
        UsageError: there is no such recipe; the message lists all names.

    Example:
        >>> jaxmnist.get_recipe("fast").epochs
        5

    """
    if name in _RECIPES:
        return _RECIPES[name]
    raise unknown_name("recipe", name, RECIPES)


def recipe_of(arch: str) -> Recipe:
    """Returns the recipe named after a network or its family, or else the default; the smallest have `tiny`."""
    if arch in _TINY:
        return _tiny
    own = (name for name in RECIPES if arch == name or arch.startswith(f"{name}_"))
    return get_recipe(next(own, DEFAULT_RECIPE))
