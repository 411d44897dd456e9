"""Changes with nearest-neighbour sampling, which copy the same pixels as Pillow.

A change maps every pixel of its result to the pixel of its input that it copies. A sequence of changes is followed
backwards, from the final pixel to the original one, and costs a single gather.
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float32, Int32, UInt8

SIDE = 28
"""Pixels along each side of an image."""

# Pillow's nearest-neighbour transform counts in 16.16 fixed point (libImaging/Geometry.c, affine_fixed).
_ONE = 65536
_LAST = SIDE - 1
_CENTRE = _LAST / 2  # counted from the centre of the first pixel
# Clockwise from the top left corner.
_UNIT_SQUARE = np.array([[[0, 0], [1, 0], [1, 1], [0, 1]]], np.int32)

Source = Callable[[Array, Array], tuple[Array, Array]]
"""Function from columns and rows of result pixels to those of the input pixels they copy; all int32."""


def copy_pixels(
    images: UInt8[Array, "batch 28 28"], changes: Sequence[tuple[Source, int]]
) -> UInt8[Array, "batch 28 28"]:
    """Applies changes in order, each with the grey value of pixels from outside the image."""
    pixels = jnp.arange(SIDE, dtype=jnp.int32)
    x, y = pixels[None, None, :], pixels[None, :, None]
    inside = jnp.ones((1, 1, 1), bool)
    background = jnp.zeros(images.shape, jnp.uint8)
    for source, fill in reversed(changes):
        x, y = source(x, y)
        still_inside = inside & (x >= 0) & (x < SIDE) & (y >= 0) & (y < SIDE)
        # The last change that fills a pixel decides its grey value.
        background = jnp.where(inside & ~still_inside, jnp.uint8(fill), background)
        inside = still_inside
    index = jnp.where(inside, y * SIDE + x, 0).reshape(images.shape[0], -1)
    # Measured on the CPU: no form of indexing is faster than one in-bounds gather along flat images.
    copied = jnp.take_along_axis(images.reshape(images.shape[0], -1), index, 1, mode="promise_in_bounds")
    return jnp.where(inside, copied.reshape(images.shape), background)


def rotation(degrees: Float32[Array, " batch"]) -> Source:
    """Returns a counter-clockwise rotation about the centre, as Pillow's `rotate` does with `NEAREST`.

    One or two pixels in a million are neighbours of those that Pillow copies, as it computes the sine in float64.

    x' = 14 + cos (x - 13.5) - sin (y - 13.5), y' = 14 + sin (x - 13.5) + cos (y - 13.5). The offsets, 14 -
    13.5 (cos -+ sin) = 0.5 + 13.5 (1 - cos +- sin), are the largest constants and are rounded to a 65,536th
    pixel; 1 - cos = 2 sin^2 of half the angle keeps float32 from spoiling that.
    """
    # Whole turns off first: exact, and the radians keep their precision.
    radians = jnp.radians(degrees - 360 * jnp.round(degrees / 360))
    sine = jnp.sin(radians)
    versine = 2 * jnp.sin(radians / 2) ** 2
    return _fixed_point(
        (1 - versine, -sine, _CENTRE * (versine + sine)),
        (sine, 1 - versine, _CENTRE * (versine - sine)),
    )


def translation(shift: Int32[Array, "batch 2"]) -> Source:
    """Returns a translation by whole pixels to the right and down."""
    right, down = shift[:, 0, None, None], shift[:, 1, None, None]
    return lambda x, y: (x - right, y - down)


def affine(
    shift: Int32[Array, "batch 2"], scale: Float32[Array, " batch"], shear: Float32[Array, " batch"]
) -> Source:
    """Returns shear, then scaling about the centre, then a shift: torchvision's `_get_inverse_affine_matrix`.

    y' = 14 + (y - 13.5 - down) / scale, x' = 14 + (x - 13.5 - right + tan shear (y - 13.5 - down)) / scale.
    """
    step = 1 / scale
    lean = jnp.tan(jnp.radians(shear)) * step
    right, down = jnp.unstack(shift.astype(jnp.float32) + _CENTRE, axis=1)
    return _fixed_point(
        (step, lean, _CENTRE - right * step - down * lean),
        (jnp.zeros_like(step), step, _CENTRE - down * step),
    )


def perspective(inward: Int32[Array, "batch 4 2"]) -> Source:
    """Returns the perspective of torchvision's `RandomPerspective` with Pillow and `NEAREST`.

    With l and r the areas of the triangles of a place with the left and the right side, the place lies at the
    share a l / (a l + b r) of the way from left to right, and likewise from top to bottom. Both have the same
    divisor, which makes a and b products of areas of the corners' triangles. All this is exact in integers. It has
    to be: integer corners put many places exactly on the border of two pixels, where Pillow's choice depends on
    the last bit of a numerical solution. Here the later pixel is copied.

    Args:
        inward: whole pixels (x, y) that each corner moves inwards, clockwise from the top left one.
    """
    corners = _LAST * _UNIT_SQUARE + (1 - 2 * _UNIT_SQUARE) * inward
    corners = jnp.concatenate([corners, jnp.ones_like(corners[:, :, :1])], axis=2)
    p0, p1, p2, p3 = jnp.unstack(corners, axis=1)
    top, right, bottom, left = _line(p0, p1), _line(p1, p2), _line(p2, p3), _line(p3, p0)
    sides_and_opposites = ((right, p3), (bottom, p0), (left, p1), (top, p2))
    areas = [(side * corner).sum(1, keepdims=True) for side, corner in sides_and_opposites]

    def rows(dtype):
        """Coefficients of column, row and divisor in a dtype."""
        near_top, near_right, near_left = (side.astype(dtype) for side in (top, right, left))
        without_0, without_1, without_2, without_3 = (area.astype(dtype) for area in areas)
        a = without_0 * without_3
        return (
            _LAST * a * near_left,
            _LAST * without_0 * without_1 * near_top,
            a * near_left + without_1 * without_2 * near_right,
        )

    exact_rows, float_rows = rows(jnp.int32), rows(jnp.float32)

    def source(x, y):
        # Pillow reads at the centres of pixels, although its corners are given as if pixels were points.
        x, y = 2 * x + 1, 2 * y + 1
        divisor = _dot(exact_rows[2], x, y)
        sign, size = jnp.where(divisor < 0, -1, 1), jnp.abs(divisor)

        def quotient(axis):
            near = _dot(float_rows[axis], x, y) / divisor.astype(jnp.float32)
            near = jnp.floor(near).astype(jnp.int32)
            # Both products overflow, but their difference, off by at most one divisor, does not.
            remainder = sign * (_dot(exact_rows[axis], x, y) - near * divisor)
            return near + (remainder >= size).astype(jnp.int32) - (remainder < 0).astype(jnp.int32)

        # The barrier makes XLA compute these once, not for each use, which halves the time of the dilated recipe.
        return lax.optimization_barrier((quotient(0), quotient(1)))

    return source


def _line(p: Int32[Array, "batch 3"], q: Int32[Array, "batch 3"]) -> Int32[Array, "batch 3"]:
    """Line through two places (x, y, 1): its product with a third is twice the area of their triangle."""
    return jnp.stack(
        [p[:, 1] - q[:, 1], q[:, 0] - p[:, 0], p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]],
        axis=1,
    )


def _dot(row: Array, x: Array, y: Array) -> Array:
    """Twice the product of a row of coefficients with the places (x / 2, y / 2, 1)."""
    a, b, c = jnp.unstack(row[..., None, None], axis=1)
    return a * x.astype(row.dtype) + b * y.astype(row.dtype) + 2 * c


def _fixed_point(x_row: tuple[Array, Array, Array], y_row: tuple[Array, Array, Array]) -> Source:
    """Returns an affine map in Pillow's fixed point.

    Each row holds, `[batch]`, the input pixels per column and per row of the result, and the distance of the
    place that the first pixel copies from the centre of the first pixel.
    """

    def fixed(row):
        per_column, per_row, offset = (_nearest(value * _ONE) for value in row)
        return per_column, per_row, _ONE // 2 + offset

    (x_per_column, x_per_row, x_offset), (y_per_column, y_per_row, y_offset) = fixed(x_row), fixed(y_row)

    def source(x, y):
        return (
            (x_offset + x_per_column * x + x_per_row * y) >> 16,
            (y_offset + y_per_column * x + y_per_row * y) >> 16,
        )

    return source


def _nearest(values: Float32[Array, " batch"]) -> Int32[Array, "batch 1 1"]:
    """Rounds half up, as Pillow's FIX, and adds axes for rows and columns."""
    return jnp.floor(values + 0.5).astype(jnp.int32)[:, None, None]
