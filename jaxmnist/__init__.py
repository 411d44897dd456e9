"""Small MNIST classifiers, done properly in JAX.

To read the core, begin with a network and end with the loop over epochs: `models/first_family.py`,
`train/state.py`, `train/batch.py`, `train/loss.py`, `train/step.py`, `train/chunk.py`, `runs/loop.py`.

The names below load their modules when first used, so that `import jaxmnist` itself is cheap.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxmnist import interop as interop
    from jaxmnist import optim as optim
    from jaxmnist.api import resume_run, train_run
    from jaxmnist.config import RECIPES, Recipe, get_recipe
    from jaxmnist.data import DATASETS, Dataset, load_dataset
    from jaxmnist.inference.classifier import Classifier, load
    from jaxmnist.models import ARCHS, count_params, create_model

    __version__: str

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
    "resume_run",
    "train_run",
]

_MODULE_OF = {
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
    "resume_run": "api",
    "train_run": "api",
}
# With public names of their own: jaxmnist.interop.from_torch, jaxmnist.optim.observe, ...
_PACKAGES = ("interop", "optim")


def __getattr__(name: str) -> object:
    if name == "__version__":
        return _version()
    if name in _PACKAGES:
        return importlib.import_module(f"jaxmnist.{name}")
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"jaxmnist.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module 'jaxmnist' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF, *_PACKAGES, "__version__"})


def _version() -> str:
    """Version of the installed package; "0+unknown" if only its sources are on the path."""
    import importlib.metadata

    try:
        return importlib.metadata.version("jaxmnist")
    except importlib.metadata.PackageNotFoundError:
        return "0+unknown"
