"""Augmentation: random changes to training images, as pure functions of a key and the images.

Images are uint8 `[batch, 28, 28]`, indexed by row y and column x. The elastic change and bilinear interpolation
mix neighbouring pixels and return float32 of the same range, 0-255; everything else copies pixels. `draw` decides
the changes to each image of a batch, `apply` performs them, and `augment` does both.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float32, Int32, PRNGKeyArray, UInt8

from jaxmnist import ops
from jaxmnist.augment import bilinear, nearest
from jaxmnist.augment.moments import by_moments
from jaxmnist.augment.nearest import SIDE
from jaxmnist.config import Augmentation, Recipe
from jaxmnist.runtime.parts import first_row

# The uniform draws of an image, in order: angle, shift to the right, shift down, scale, shear, the choice of a
# perspective, and eight moves of corners. Each field needs the number of draws given here. A shorter row of draws
# is a prefix of a longer one, so a draw added at the end leaves the random numbers of other recipes unchanged.
_DRAWS = {"rotation": 1, "translation": 3, "scale": 5, "shear": 5, "perspective": 14}


class Affine(NamedTuple):
    """Shift, scale and shear, which form one change of the pixels."""

    shift: Int32[Array, "batch 2"]
    """Whole pixels (to the right, down)."""
    scale: Float32[Array, " batch"]
    """Factor of size."""
    shear: Float32[Array, " batch"]
    """Degrees by which upright lines lean to the right."""


class Changes(NamedTuple):
    """The changes to each image of a batch, in the order of the fields; None for no change of that kind."""

    inward: Int32[Array, "batch 4 2"] | None = None
    """Perspective: whole pixels (x, y) that each corner moves inwards, clockwise from the top left one."""
    degrees: Float32[Array, " batch"] | None = None
    """Rotation, counter-clockwise."""
    shift: Int32[Array, "batch 2"] | None = None
    """Translation without scale and shear: whole pixels (to the right, down)."""
    affine: Affine | None = None
    """Translation with scale and shear."""
    noise: Float32[Array, "batch 2 28 28"] | None = None
    """Source of the elastic change, uniform in [-1, 1): for x, then for y."""


def augment(
    key: PRNGKeyArray,
    images: UInt8[Array, "batch 28 28"],
    augmentation: Augmentation,
    strength: Float32[Array, ""] | None = None,
) -> UInt8[Array, "batch 28 28"] | Float32[Array, "batch 28 28"]:
    """Changes images at random.

    The change to an image depends only on the key and the position in the batch, so neither padding nor other
    images affect it. `augmentation` is static; fields that are zero cost nothing.

    Args:
        key: source of the random changes.
        images: the images.
        augmentation: limits of the changes.
        strength: factor of all limits; None is 1.

    Returns:
        The changed images: float32 with an elastic change or bilinear interpolation, uint8 otherwise.
    """
    if not any(getattr(augmentation, field) for field in (*_DRAWS, "elastic")):
        return images
    return apply(draw(key, images.shape[0], augmentation, strength), images, augmentation)


def strength_at(
    augmentation: Augmentation, step: Int32[Array, ""], total_steps: int | None
) -> Float32[Array, ""] | None:
    """Computes the strength of a fading augmentation at a step; None without a fade.

    Raises:
        ValueError: the augmentation fades and `total_steps` is None.
    """
    if not augmentation.fade:
        return None
    if total_steps is None:
        raise ValueError("an augmentation that fades needs total_steps, the number of steps of the training")
    left = (total_steps - step).astype(jnp.float32) / (augmentation.fade * total_steps)
    return augmentation.fade_to + (1 - augmentation.fade_to) * jnp.minimum(left, 1.0)


def draw(
    key: PRNGKeyArray, batch: int, augmentation: Augmentation, strength: Float32[Array, ""] | None = None
) -> Changes:
    """Draws the changes to each image of a batch.

    Angles, factors and the moves of corners are uniform within their limits. Shifts are uniform within the
    translation's share of the side and rounded to whole pixels (half to even), each axis on its own, so the
    largest shift is rarer than the others. `strength` multiplies all limits.
    """
    a, s = augmentation, 1.0 if strength is None else strength
    count = max((needed for field, needed in _DRAWS.items() if getattr(augmentation, field)), default=0)
    uniform = _uniform(key, batch, count)
    inward = degrees = shift = affine = noise = None
    if augmentation.perspective:
        inward = _inward(uniform[:, 5:], a, strength)
    if augmentation.rotation:
        degrees = uniform[:, 0] * (a.rotation * s)
    if a.translation or a.scale or a.shear:
        shift = jnp.round(uniform[:, 1:3] * (a.translation * SIDE * s)).astype(jnp.int32)
        if a.scale or a.shear:
            factor = 1 + uniform[:, 3] * (a.scale * s)
            shift, affine = None, Affine(shift, factor, uniform[:, 4] * (a.shear * s))
    if a.elastic:
        # The elastic change is linear in its noise, so scaling the noise scales the change.
        noise = _noise(key, batch) if strength is None else _noise(key, batch) * strength
    return Changes(inward, degrees, shift, affine, noise)


def apply(
    changes: Changes, images: UInt8[Array, "batch 28 28"], augmentation: Augmentation
) -> UInt8[Array, "batch 28 28"] | Float32[Array, "batch 28 28"]:
    """Applies drawn changes in the order of their fields.

    All changes that copy pixels take a single gather, and the elastic change a second one; with bilinear
    interpolation the elastic change shares the gather of all but the perspective.

    Args:
        changes: the drawn changes.
        images: the images.
        augmentation: the settings that are not random: fill of the rotation, alpha, sigma and interpolation.
    """
    if augmentation.interpolation == "bilinear":
        return _interpolated(changes, images, augmentation)
    steps = []
    if changes.inward is not None:
        steps.append((nearest.perspective(changes.inward), 0))
    if changes.degrees is not None:
        steps.append((nearest.rotation(changes.degrees), augmentation.rotation_fill))
    if changes.shift is not None:
        steps.append((nearest.translation(changes.shift), 0))
    if changes.affine is not None:
        steps.append((nearest.affine(*changes.affine), 0))
    if steps:
        images = nearest.copy_pixels(images, steps)
    if changes.noise is None:
        return images
    return bilinear.elastic(images, changes.noise, augmentation.elastic, augmentation.elastic_sigma)


def _interpolated(
    changes: Changes, images: UInt8[Array, "batch 28 28"], augmentation: Augmentation
) -> Float32[Array, "batch 28 28"]:
    """Applies changes with bilinear interpolation; all but the perspective lead back to one place to read."""
    if changes.inward is not None:
        images = nearest.copy_pixels(images, [(nearest.perspective(changes.inward), 0)])
    x, y = bilinear.own_places()
    if changes.noise is not None:
        moves = bilinear.displacement(changes.noise, augmentation.elastic, augmentation.elastic_sigma)
        x, y = x + moves[:, 0], y + moves[:, 1]
    if changes.shift is not None:
        x, y = bilinear.translation(changes.shift)(x, y)
    if changes.affine is not None:
        x, y = bilinear.affine(*changes.affine)(x, y)
    if changes.degrees is not None:
        x, y = bilinear.rotation(changes.degrees)(x, y)
    return bilinear.read(images, x, y)


def normalise(
    images: UInt8[Array, "batch 28 28"] | Float32[Array, "batch 28 28"], recipe: Recipe
) -> Float32[Array, "batch 28 28 1"]:
    """Turns images into the input of a network.

    Deskews and rescales them if the recipe says so, scales pixels to [0, 1], subtracts `recipe.mean`, divides by
    `recipe.std` and adds a channel axis.
    """
    return ((by_moments(images.astype(jnp.float32), recipe) / 255 - recipe.mean) / recipe.std)[..., None]


def _uniform(key: PRNGKeyArray, batch: int, count: int) -> Float32[Array, "batch count"]:
    """Draws numbers in [-1, 1); the key of an image is that of its position."""

    def draw(position):
        draws = jax.random.fold_in(key, position)
        return jax.random.uniform(draws, (count,), jnp.float32, minval=-1.0, maxval=1.0)

    return jax.vmap(draw)(first_row(batch) + jnp.arange(batch, dtype=jnp.int32))


def _inward(
    uniform: Float32[Array, "batch 9"], augmentation: Augmentation, strength: Float32[Array, ""] | None
) -> Int32[Array, "batch 4 2"]:
    """Moves of the corners, uniform from 0 to the largest; all 0 for images without a perspective."""
    furthest = augmentation.perspective * (SIDE // 2)
    largest = int(furthest) if strength is None else jnp.floor(furthest * strength)
    moves = jnp.floor((uniform[:, 1:] + 1) / 2 * (largest + 1)).astype(jnp.int32)
    chosen = uniform[:, :1] < 2 * augmentation.perspective_probability - 1
    return jnp.where(chosen, moves, 0).reshape(-1, 4, 2)


def _noise(key: PRNGKeyArray, batch: int) -> Float32[Array, "batch 2 28 28"]:
    # The batch is the leading axis, so the words of an image depend only on its position.
    shape = (2, SIDE, SIDE)
    words = ops.random_words(key, (batch, *shape), start=first_row(batch) * math.prod(shape))
    # As signed numbers: their conversion to float32 is a vector instruction. 24 bits convert without rounding.
    return (lax.bitcast_convert_type(words, jnp.int32) >> 8).astype(jnp.float32) * 2**-23
