"""Augmentation: random changes to training images, as pure functions of (key, images).

Images are uint8 `[batch, 28, 28]`, indexed by row y and column x. A nearest-neighbour change says for every
pixel of its result which pixel of its input it copies, so a sequence of them is followed backwards, from the
final pixel to the original one, and costs a single gather. Pixels agree with Pillow's, on which the
published recipes were trained.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32, Int32, PRNGKeyArray, UInt8

from jaxmnist.recipes import Augmentation

_SIDE = 28
# Pillow's nearest-neighbour transform counts in 16.16 fixed point (libImaging/Geometry.c, affine_fixed).
_ONE = 65536

# Columns and rows of result pixels -> columns and rows of the input pixels they copy; all int32.
_Source = Callable[[Array, Array], tuple[Array, Array]]


def augment(
    key: PRNGKeyArray, images: UInt8[Array, "batch 28 28"], augmentation: Augmentation
) -> UInt8[Array, "batch 28 28"]:
    """Images changed at random: first rotated, then translated; the same as `translate(rotate(...))`.

    What happens to an image depends on the key and its position in the batch alone, so neither padding a
    batch nor its neighbours change it. Angles are uniform in [-rotation, rotation); shifts are uniform within
    the translation's share of the side, rounded to whole pixels (half to even), each axis on its own, so the
    largest shift is rarer than the others. `augmentation` is static; what is zero in it costs nothing.
    """
    if not (augmentation.rotation or augmentation.translation):
        return images
    draws = _draws(key, images.shape[0])
    changes: list[tuple[_Source, int]] = []
    if augmentation.rotation:
        degrees = draws[:, 0] * augmentation.rotation
        changes.append((_rotation(degrees), augmentation.rotation_fill))
    if augmentation.translation:
        shift = jnp.round(draws[:, 1:3] * (augmentation.translation * _SIDE)).astype(jnp.int32)
        changes.append((_translation(shift), 0))
    return _copy_pixels(images, changes)


def rotate(
    images: UInt8[Array, "batch 28 28"], degrees: Float32[Array, " batch"], fill: int
) -> UInt8[Array, "batch 28 28"]:
    """Each image turned counter-clockwise about its centre, as Pillow's `rotate` does with `NEAREST`.

    `fill` is the grey value, 0-255, of pixels that come in from outside. Of a million pixels one or two are
    neighbours of the ones Pillow copies, because it computes the sine in float64.
    """
    return _copy_pixels(images, [(_rotation(degrees), fill)])


def translate(
    images: UInt8[Array, "batch 28 28"], shift: Int32[Array, "batch 2"]
) -> UInt8[Array, "batch 28 28"]:
    """Each image moved by whole pixels, (to the right, down); what comes in from outside is 0."""
    return _copy_pixels(images, [(_translation(shift), 0)])


def normalise(
    images: UInt8[Array, "batch 28 28"], mean: float, std: float
) -> Float32[Array, "batch 28 28 1"]:
    """What networks take: pixels scaled to [0, 1], less `mean`, divided by `std`, with a channel axis."""
    return ((images.astype(jnp.float32) / 255 - mean) / std)[..., None]


def _draws(key: PRNGKeyArray, batch: int) -> Float32[Array, "batch 3"]:
    """Uniform in [-1, 1): angle, shift to the right, shift down."""

    def draw(position):
        return jax.random.uniform(jax.random.fold_in(key, position), (3,), minval=-1.0, maxval=1.0)

    return jax.vmap(draw)(jnp.arange(batch, dtype=jnp.int32))


def _rotation(degrees: Float32[Array, " batch"]) -> _Source:
    """Rotation in the fixed point of Pillow, whose matrix maps the result's pixel centres to the input.

    x' = 14 + cos (x - 13.5) - sin (y - 13.5), y' = 14 + sin (x - 13.5) + cos (y - 13.5). The offsets, 14 -
    13.5 (cos -+ sin) = 0.5 + 13.5 (1 - cos +- sin), are the largest constants and are rounded to a 65,536th
    pixel; 1 - cos = 2 sin^2 of half the angle keeps float32 from spoiling that.
    """
    # Whole turns off first: exact, and the radians keep their precision.
    radians = jnp.radians(degrees - 360 * jnp.round(degrees / 360))
    sine = jnp.sin(radians)
    versine = 2 * jnp.sin(radians / 2) ** 2
    half = (_SIDE - 1) / 2 * _ONE
    cos_step = _nearest((1 - versine) * _ONE)
    sin_step, minus_sin_step = _nearest(sine * _ONE), _nearest(-sine * _ONE)
    x_offset = _ONE // 2 + _nearest(half * (versine + sine))
    y_offset = _ONE // 2 + _nearest(half * (versine - sine))

    def source(x, y):
        return (
            (x_offset + cos_step * x + minus_sin_step * y) >> 16,
            (y_offset + sin_step * x + cos_step * y) >> 16,
        )

    return source


def _nearest(values: Float32[Array, " batch"]) -> Int32[Array, "batch 1 1"]:
    """Nearest whole number, halves up, as Pillow's FIX; shaped to meet rows and columns."""
    return jnp.floor(values + 0.5).astype(jnp.int32)[:, None, None]


def _translation(shift: Int32[Array, "batch 2"]) -> _Source:
    right, down = shift[:, 0, None, None], shift[:, 1, None, None]
    return lambda x, y: (x - right, y - down)


def _copy_pixels(
    images: UInt8[Array, "batch 28 28"], changes: list[tuple[_Source, int]]
) -> UInt8[Array, "batch 28 28"]:
    """Applies changes, each with its fill, in their order."""
    pixels = jnp.arange(_SIDE, dtype=jnp.int32)
    x, y = pixels[None, None, :], pixels[None, :, None]
    inside = jnp.ones((1, 1, 1), bool)
    background = jnp.zeros(images.shape, jnp.uint8)
    for source, fill in reversed(changes):
        x, y = source(x, y)
        still_inside = inside & (x >= 0) & (x < _SIDE) & (y >= 0) & (y < _SIDE)
        # The last change that has to fill a pixel decides its grey value.
        background = jnp.where(inside & ~still_inside, jnp.uint8(fill), background)
        inside = still_inside
    index = jnp.where(inside, y * _SIDE + x, 0).reshape(images.shape[0], -1)
    # Measured on the CPU: one gather along flat images in bounds is as fast as any form of indexing.
    copied = jnp.take_along_axis(images.reshape(images.shape[0], -1), index, 1, mode="promise_in_bounds")
    return jnp.where(inside, copied.reshape(images.shape), background)
