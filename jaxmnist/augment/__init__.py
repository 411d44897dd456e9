"""Augmentation: random changes to training images, as pure functions of (key, images).

Images are uint8 `[batch, 28, 28]`, indexed by row y and column x. Only what mixes neighbouring pixels, the
elastic change and bilinear interpolation, gives float32 of the same range, 0-255. `draw` decides what happens to
each image of a batch and `apply` does it; `perspective`, `rotate`, `translate`, `affine` and `elastic` do one
thing each.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float32, Int32, PRNGKeyArray, UInt8

from jaxmnist import ops
from jaxmnist.augment import bilinear, nearest
from jaxmnist.augment.deskew import deskew
from jaxmnist.augment.nearest import SIDE
from jaxmnist.config import Augmentation, Recipe

# An image's uniform draws are, in this order: angle, shift to the right, shift down, scale, shear, whether its
# perspective changes, and eight moves of corners. A field needs as many of them as stand here. Fewer draws are
# a prefix of more, so those added at the end leave the random numbers of other recipes as they were.
_DRAWS = {"rotation": 1, "translation": 3, "scale": 5, "shear": 5, "perspective": 14}


class Affine(NamedTuple):
    """Shift, scale and shear, which are one change of the pixels."""

    shift: Int32[Array, "batch 2"]
    """Whole pixels, (to the right, down)."""
    scale: Float32[Array, " batch"]
    """Factor of size."""
    shear: Float32[Array, " batch"]
    """Degrees by which upright lines lean to the right."""


class Changes(NamedTuple):
    """What happens to each image of a batch, in this order; None where nothing of the kind does."""

    inward: Int32[Array, "batch 4 2"] | None = None
    """Perspective: whole pixels, (x, y), that each corner moves inwards; clockwise from the top left one."""
    degrees: Float32[Array, " batch"] | None = None
    """Rotation, counter-clockwise."""
    shift: Int32[Array, "batch 2"] | None = None
    """Translation without scale and shear: whole pixels, (to the right, down)."""
    affine: Affine | None = None
    """Translation with scale and shear."""
    noise: Float32[Array, "batch 2 28 28"] | None = None
    """What the elastic change is made from, uniform in [-1, 1): for x, then for y."""


def augment(
    key: PRNGKeyArray,
    images: UInt8[Array, "batch 28 28"],
    augmentation: Augmentation,
    strength: Float32[Array, ""] | None = None,
) -> UInt8[Array, "batch 28 28"] | Float32[Array, "batch 28 28"]:
    """Images changed at random; float32 where `augmentation.elastic` is not zero or pixels are interpolated.

    What happens to an image depends on the key and its position in the batch alone, so neither padding a
    batch nor its neighbours change it. `augmentation` is static; what is zero in it costs nothing. `strength`
    is what all its limits are multiplied by; none is 1.
    """
    if not any(getattr(augmentation, field) for field in (*_DRAWS, "elastic")):
        return images
    return apply(draw(key, images.shape[0], augmentation, strength), images, augmentation)


def strength_at(
    augmentation: Augmentation, step: Int32[Array, ""], total_steps: int | None
) -> Float32[Array, ""] | None:
    """Share of its limits that an augmentation which fades has in a step; none where it does not fade."""
    if not augmentation.fade:
        return None
    if total_steps is None:
        raise ValueError("an augmentation that fades needs to know the number of all steps")
    left = (total_steps - step).astype(jnp.float32) / (augmentation.fade * total_steps)
    return augmentation.fade_to + (1 - augmentation.fade_to) * jnp.minimum(left, 1.0)


def draw(
    key: PRNGKeyArray, batch: int, augmentation: Augmentation, strength: Float32[Array, ""] | None = None
) -> Changes:
    """Decides what happens to each image of a batch.

    Angles, factors and the moves of corners are uniform within their limits. Shifts are uniform within the
    translation's share of the side, rounded to whole pixels (half to even), each axis on its own, so the
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
        # The elastic change is linear in its noise, so that this is its strength, too.
        noise = _noise(key, batch) if strength is None else _noise(key, batch) * strength
    return Changes(inward, degrees, shift, affine, noise)


def apply(
    changes: Changes, images: UInt8[Array, "batch 28 28"], augmentation: Augmentation
) -> UInt8[Array, "batch 28 28"] | Float32[Array, "batch 28 28"]:
    """Does what was drawn: the same as `elastic(affine(rotate(perspective(images))))`, in a single gather but
    for the elastic change. Of `augmentation` it takes what is not random: the rotation's fill, alpha, sigma,
    and how pixels are read; if between others, the elastic change is part of that one gather.
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
    return elastic(images, changes.noise, augmentation.elastic, augmentation.elastic_sigma)


def _interpolated(
    changes: Changes, images: UInt8[Array, "batch 28 28"], augmentation: Augmentation
) -> Float32[Array, "batch 28 28"]:
    """`apply` with bilinear interpolation: all but the perspective is followed backwards to one place to read."""
    if changes.inward is not None:
        images = perspective(images, changes.inward)
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


def perspective(
    images: UInt8[Array, "batch 28 28"], inward: Int32[Array, "batch 4 2"]
) -> UInt8[Array, "batch 28 28"]:
    """Each image fitted in between corners that move inwards, as torchvision's `RandomPerspective` does with
    Pillow and `NEAREST`; what comes in from outside is 0.

    `inward` holds whole pixels, (x, y), for each corner, clockwise from the top left one.
    """
    return nearest.copy_pixels(images, [(nearest.perspective(inward), 0)])


def rotate(
    images: UInt8[Array, "batch 28 28"], degrees: Float32[Array, " batch"], fill: int
) -> UInt8[Array, "batch 28 28"]:
    """Each image turned counter-clockwise about its centre, as Pillow's `rotate` does with `NEAREST`.

    `fill` is the grey value, 0-255, of pixels that come in from outside. Of a million pixels one or two are
    neighbours of the ones Pillow copies, because it computes the sine in float64.
    """
    return nearest.copy_pixels(images, [(nearest.rotation(degrees), fill)])


def translate(
    images: UInt8[Array, "batch 28 28"], shift: Int32[Array, "batch 2"]
) -> UInt8[Array, "batch 28 28"]:
    """Each image moved by whole pixels, (to the right, down); what comes in from outside is 0."""
    return nearest.copy_pixels(images, [(nearest.translation(shift), 0)])


def affine(
    images: UInt8[Array, "batch 28 28"],
    shift: Int32[Array, "batch 2"],
    scale: Float32[Array, " batch"],
    shear: Float32[Array, " batch"],
) -> UInt8[Array, "batch 28 28"]:
    """Each image sheared and scaled about its centre and then moved, as torchvision's `RandomAffine` does with
    Pillow and `NEAREST`; what comes in from outside is 0. Arguments as in `Affine`.
    """
    return nearest.copy_pixels(images, [(nearest.affine(shift, scale, shear), 0)])


def elastic(
    images: UInt8[Array, "batch 28 28"], noise: Float32[Array, "batch 2 28 28"], alpha: float, sigma: float
) -> Float32[Array, "batch 28 28"]:
    """Each image distorted by smooth noise, as torchvision's `ElasticTransform` does with `BILINEAR`.

    `noise` is for x and then for y; `alpha` is the strength, `sigma` the smoothness in pixels, see
    `jaxmnist.augment.bilinear.displacement`. Outside all is 0.
    """
    return bilinear.sample(images, bilinear.displacement(noise, alpha, sigma))


def normalise(
    images: UInt8[Array, "batch 28 28"] | Float32[Array, "batch 28 28"], recipe: Recipe
) -> Float32[Array, "batch 28 28 1"]:
    """What networks take: images made upright if `recipe.deskew`, their pixels scaled to [0, 1], less `recipe.mean`,
    divided by `recipe.std`; with a channel axis."""
    pixels = images.astype(jnp.float32)
    if recipe.deskew:
        pixels = deskew(pixels)
    return ((pixels / 255 - recipe.mean) / recipe.std)[..., None]


def _uniform(key: PRNGKeyArray, batch: int, count: int) -> Float32[Array, "batch count"]:
    """Uniform in [-1, 1); the key of an image is that of its position."""

    def draw(position):
        return jax.random.uniform(jax.random.fold_in(key, position), (count,), minval=-1.0, maxval=1.0)

    return jax.vmap(draw)(jnp.arange(batch, dtype=jnp.int32))


def _inward(
    uniform: Float32[Array, "batch 9"], augmentation: Augmentation, strength: Float32[Array, ""] | None
) -> Int32[Array, "batch 4 2"]:
    """Moves of the corners, from 0 to the largest one alike; all 0 for images that stay as they are."""
    furthest = augmentation.perspective * (SIDE // 2)
    largest = int(furthest) if strength is None else jnp.floor(furthest * strength)
    moves = jnp.floor((uniform[:, 1:] + 1) / 2 * (largest + 1)).astype(jnp.int32)
    chosen = uniform[:, :1] < 2 * augmentation.perspective_probability - 1
    return jnp.where(chosen, moves, 0).reshape(-1, 4, 2)


def _noise(key: PRNGKeyArray, batch: int) -> Float32[Array, "batch 2 28 28"]:
    # The batch is the leading axis, so that the words of an image depend on its position alone.
    words = ops.random_words(key, (batch, 2, SIDE, SIDE))
    # As signed numbers: their conversion to float32 is a vector instruction. 24 bits convert without rounding.
    return (lax.bitcast_convert_type(words, jnp.int32) >> 8).astype(jnp.float32) * 2**-23
