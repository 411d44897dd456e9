"""Networks by name: the registry, and what can be said of any of them."""

import dataclasses
import importlib
from typing import TYPE_CHECKING, Any

from jaxmnist.errors import UsageError, unknown_name

if TYPE_CHECKING:
    import flax.linen as nn

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
}

ARCHS: tuple[str, ...] = tuple(_CLASSES)
"""Names of all networks."""

IMAGE_SHAPE = (28, 28, 1)
"""Height, width and channels of what every network reads."""


def create_model(arch: str, **overrides: Any) -> "nn.Module":
    """The network of that name, without weights.

    Args:
        arch: one of `ARCHS`.
        **overrides: fields of the network's class; `dropout=0.0` turns every dropout off.

    Returns:
        A linen module: `init(key, images)` gives the variables `params` and `batch_stats`, and
        `apply(variables, images, train=False)` maps float32 `[batch, 28, 28, 1]`, already normalised, to
        `[batch, 10]`. With `train=True` it needs `rngs={"dropout": key}` and `mutable=["batch_stats"]`,
        and takes `mask`, float32 `[batch]`: 0 for padding that must not enter the batch statistics.

    Raises:
        UsageError: no network has that name, or it has no such field.
    """
    if arch not in _CLASSES:
        raise unknown_name("arch", arch, ARCHS)
    module, name = _CLASSES[arch].split(".")
    network = getattr(importlib.import_module(f"jaxmnist.models.{module}"), name)
    fields = [field.name for field in dataclasses.fields(network) if field.name not in ("parent", "name")]
    unknown = [field for field in overrides if field not in fields]
    if unknown:
        raise UsageError(f"arch {arch!r} has no field {unknown[0]!r}; its fields are {', '.join(fields)}.")
    return network(**overrides)


def count_params(variables: Any) -> int:
    """Number of trainable parameters: the elements of `variables["params"]`, statistics left out."""
    import jax  # here, so that naming the networks (in a help text) does not start JAX

    return sum(leaf.size for leaf in jax.tree_util.tree_leaves(variables["params"]))
