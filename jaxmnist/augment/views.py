"""Scores of images seen several ways (test-time augmentation)."""

import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, UInt8

from jaxmnist.augment import normalise
from jaxmnist.augment.moments import from_middle, read_along
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


def tilted(images: Float32[Array, "batch h w"], degrees: float) -> Float32[Array, "batch h w"]:
    """Tilts images about their middle: a column moves up or down, by the tangent times its distance.

    With `deskew` afterwards, which moves the rows, this is a rotation. Pixels are interpolated between two neighbours;
    outside the image is 0.

    Args:
        images: ink on a background of 0.
        degrees: angle by which level strokes turn, less than 45; the right end of those goes down if it is positive.
    """
    moves = -math.tan(math.radians(degrees)) * from_middle(images.shape[2])
    reach = math.ceil(np.abs(moves).max())
    return read_along(images.transpose(1, 2, 0), jnp.asarray(moves[None]), axis=0, reach=reach).transpose(
        2, 0, 1
    )
