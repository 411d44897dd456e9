"""Networks by name: the registry, and names and parameter counts of any network."""

import dataclasses
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from jaxmnist.data.dataset import NUM_CLASSES
from jaxmnist.errors import UsageError, unknown_name

if TYPE_CHECKING:
    import flax.linen as nn
    from jax import Array
    from jaxtyping import PyTree

_CLASSES = {
    "first": "first_family.First",
    "second": "first_family.Second",
    "third": "first_family.Third",
    "dilated": "dilated.Dilated",
    "evolution_v1": "evolution.EvolutionV1",
    "evolution_v2": "evolution.EvolutionV2",
    "evolution_v3": "evolution.EvolutionV3",
    "challenge_ll": "challenge.ChallengeLL",
    "challenge_gap": "challenge.ChallengeGAP",
    "challenge_final": "challenge.ChallengeFinal",
    "step1": "steps.Step1",
    "step3": "steps.Step3",
    "flagship": "flagship.Flagship",
    "flagship_small": "flagship.FlagshipSmall",
    "flagship_2500": "flagship.Flagship2500",
    "flagship_1500": "flagship.FlagshipMixed",
    "flagship_1000": "flagship.Flagship1000",
    "flagship_850": "flagship.Flagship850",
    "flagship_500": "flagship.Flagship500",
}

ARCHS: tuple[str, ...] = tuple(_CLASSES)
"""Names of all networks."""

IMAGE_SHAPE = (28, 28, 1)
"""Height, width and channels of an input image."""


@runtime_checkable
class Model(Protocol):
    """A network without weights: a linen module of this package, or one of the user's own behind `CustomNetwork`."""

    def init(self, key: "Array", images: "Array", /) -> "PyTree":
        """Returns initial variables, `params` and possibly `batch_stats`, for images `[batch, 28, 28, 1]`."""

    def apply(self, variables: "PyTree", images: "Array", /, *args: Any, **kwargs: Any) -> "PyTree":
        """Returns logits or log-probabilities `[batch, classes]`; with `mutable` also the updated collections."""


def is_custom(arch: str) -> bool:
    """True if an arch names a class of the user's own: `file.py:Class` or `package.module:Class`."""
    return ":" in arch


def arch_title(arch: str) -> str:
    """Returns an arch for display: without the folder of its file."""
    place, colon, name = arch.rpartition(":")
    return f"{Path(place).name}{colon}{name}" if place.endswith(".py") else arch


def arch_word(arch: str) -> str:
    """Returns an arch for file names: without the place of its class."""
    return arch.rpartition(":")[2]


def absolute_arch(arch: str) -> str:
    """Returns an arch with the absolute path of its file, if it has one."""
    place, colon, name = arch.rpartition(":")
    return f"{Path(place).expanduser().resolve()}{colon}{name}" if place.endswith(".py") else arch


def create_model(arch: str | type, **overrides: Any) -> Model:
    """Creates a network without weights.

    Args:
        arch: one of `ARCHS`; or any `flax.linen.Module` class of your own, as `file.py:Class`,
            `package.module:Class` or the class itself.
        **overrides: fields of the network's class: `num_classes=26`, or `dropout=0.0`, which turns every dropout off.
            A class of your own need not have `num_classes`, but must return as many scores.

    Returns:
        A linen module (for a class of your own, an object with the same two methods). `init(key, images)` returns the
        variables `params` and `batch_stats`. `apply(variables, images, train=False)` maps normalised float32
        `[batch, 28, 28, 1]` to `[batch, num_classes]`, by default 10. With `train=True` it needs
        `rngs={"dropout": key}` and `mutable=["batch_stats"]`, and takes `mask`, float32 `[batch]`: 0 for padding, which
        must not enter the batch statistics.

    Raises:
        UsageError: there is no such network, it has no such field, or it does not map images to class scores.

    Example:
        >>> import jax
        >>> model = jaxmnist.create_model("third", dropout=0.0)
        >>> variables = model.init(jax.random.key(0), jax.numpy.zeros((1, 28, 28, 1)))
        >>> model.apply(variables, jax.numpy.zeros((5, 28, 28, 1))).shape
        (5, 10)

    """
    if isinstance(arch, str) and not is_custom(arch):
        if arch not in _CLASSES:
            raise unknown_name("arch", arch, (*ARCHS, "FILE.py:CLASS"))
        module, name = _CLASSES[arch].split(".")
        network = getattr(importlib.import_module(f"jaxmnist.models.{module}"), name)
        return _with_fields(arch, network, overrides)
    from jaxmnist.models import custom

    network = custom.find_class(arch) if isinstance(arch, str) else arch
    title = arch_title(arch if isinstance(arch, str) else custom.arch_of(arch))
    num_classes = overrides.get("num_classes", NUM_CLASSES)
    if "num_classes" not in getattr(network, "__dataclass_fields__", {}):
        overrides.pop("num_classes", None)
    return custom.checked(title, _with_fields(title, network, overrides), num_classes)


def _with_fields(arch: str, network: "type[nn.Module]", overrides: dict[str, Any]) -> "nn.Module":
    fields = [field.name for field in dataclasses.fields(network) if field.name not in ("parent", "name")]
    unknown = [field for field in overrides if field not in fields]
    if unknown:
        has = f"its fields are {', '.join(fields)}" if fields else "it has none"
        raise UsageError(f"arch {arch!r} has no field {unknown[0]!r}; {has}.")
    return network(**overrides)


def count_params(variables: "PyTree") -> int:
    """Returns the number of trainable parameters, the elements of `variables["params"]`; statistics do not count.

    Example:
        >>> jaxmnist.count_params(variables)
        7902
    """
    import jax  # not above: a help text names the networks and must not load JAX

    return sum(leaf.size for leaf in jax.tree_util.tree_leaves(variables["params"]))
