"""Recipes and the configuration of a run, as frozen dataclasses."""

from jaxmnist.config.recipe import Recipe
from jaxmnist.config.recipe_parts import Augmentation, Averaging, Distillation, Plateau, RateRange, Schedule
from jaxmnist.config.recipes import RECIPES, get_recipe, recipe_of

__all__ = [
    "RECIPES",
    "Augmentation",
    "Averaging",
    "Distillation",
    "Plateau",
    "RateRange",
    "Recipe",
    "Schedule",
    "get_recipe",
    "recipe_of",
]
