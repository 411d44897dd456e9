"""Small MNIST classifiers, done properly in JAX.

The names below load what they need when first used, so that `import jaxmnist` itself is cheap.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxmnist.api import train_run
    from jaxmnist.config import RECIPES, Recipe, get_recipe
    from jaxmnist.data import DATASETS, Dataset, load_dataset
    from jaxmnist.inference.classifier import Classifier, load
    from jaxmnist.models import ARCHS, count_params, create_model

__all__ = [
    "ARCHS",
    "DATASETS",
    "RECIPES",
    "Classifier",
    "Dataset",
    "Recipe",
    "count_params",
    "create_model",
    "get_recipe",
    "load",
    "load_dataset",
    "train_run",
]

_ROOMS = {
    "ARCHS": "models",
    "DATASETS": "data",
    "RECIPES": "config",
    "Classifier": "inference.classifier",
    "Dataset": "data",
    "Recipe": "config",
    "count_params": "models",
    "create_model": "models",
    "get_recipe": "config",
    "load": "inference.classifier",
    "load_dataset": "data",
    "train_run": "api",
    # Rooms with public names of their own: jaxmnist.interop.from_torch, jaxmnist.optim.observe, ...
    "interop": "interop",
    "optim": "optim",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'jaxmnist' has no attribute {name!r}")
    room = importlib.import_module(f"jaxmnist.{_ROOMS[name]}")
    return room if name == _ROOMS[name] else getattr(room, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOMS})
