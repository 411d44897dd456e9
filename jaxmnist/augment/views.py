"""Scores of images seen several ways (test-time augmentation)."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float, Float32, UInt8

from jaxmnist.augment import normalise
from jaxmnist.augment.moments import tilted
from jaxmnist.config import Recipe


def scores(
    apply: Callable[[Float32[Array, "batch 28 28 1"]], Float[Array, "batch classes"]],
    images: UInt8[Array, "batch 28 28"] | Float32[Array, "batch 28 28"],
    recipe: Recipe,
) -> Float[Array, "batch classes"]:
    """Returns the scores of a trained network for raw images, as it is used after training.

    They are the mean of those for each image as it is and tilted to either side, if the recipe says so.

    Args:
        apply: maps normalised images to logits or log-probabilities.
        images: raw images.
        recipe: normalisation, and `tilt`.
    """
    found = apply(normalise(images, recipe))
    if not recipe.tilt:
        return found
    left, right = (
        apply(normalise(tilted(images.astype(jnp.float32), degrees), recipe))
        for degrees in (-recipe.tilt, recipe.tilt)
    )
    return (found + left + right) / recipe.views
