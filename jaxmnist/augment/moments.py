"""Images made upright, and of one size, by the moments of their ink."""

import functools

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Float32

from jaxmnist.config import Recipe

_REACH = 10  # largest move of a pixel, in pixels
_TINY = 1e-6  # avoids division by zero for blank images and those of a single row

SPREADS = ((5.2, (0.6, 1.5)), (3.4, (0.55, 1.3)))
"""Of height and width: the standard deviation of the ink about its centre that `rescale` aims at, in pixels, and the
limits of the factor that the image is reduced by for it. Without them a digit 1 would become as wide as an 8."""


def by_moments(images: Float32[Array, "batch h w"], recipe: Recipe) -> Float32[Array, "batch h w"]:
    """Deskews and rescales images, if the recipe says so."""
    if recipe.deskew:
        images = deskew(images)
    return rescale(images) if recipe.rescale else images


def deskew(images: Float32[Array, "batch h w"]) -> Float32[Array, "batch h w"]:
    """Shears each image horizontally, about its centre of mass, until the principal axis of its ink is upright.

    A row moves by the slope of that axis times its distance from the centre, at most ten pixels. Pixels are
    interpolated between two neighbours; outside the image is 0.

    Source: the deslanting of LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document
    recognition, 1998, section III.A.

    Args:
        images: ink on a background of 0, not negative.
    """
    ink = images.transpose(1, 2, 0)
    x, y = _from_centre(ink, axis=1), _from_centre(ink, axis=0)
    rows = ink.sum(1)
    slope = (y * (ink * x[None]).sum(1)).sum(0, keepdims=True)
    slope = slope / jnp.maximum((y * y * rows).sum(0, keepdims=True), _TINY)
    return read_along(ink, (slope * y)[:, None], axis=1).transpose(2, 0, 1)


def rescale(images: Float32[Array, "batch h w"]) -> Float32[Array, "batch h w"]:
    """Centres the ink of each image, and brings its height and its width to a common spread.

    The spread is the standard deviation of the ink about its centre of mass. The factors have limits, so that a thin
    digit stays thin, and no pixel moves by more than ten. Pixels are interpolated between two neighbours along each
    axis; outside the image is 0. Images are to be made upright first.

    Source: moment normalisation, Casey, Moment normalization of handprinted characters, 1970.

    Args:
        images: ink on a background of 0, not negative.
    """
    ink = images.transpose(1, 2, 0)
    for axis, (spread, limits) in enumerate(SPREADS):
        places = _from_centre(ink, axis)
        profile = ink.sum(1 - axis)
        variance = (places * places * profile).sum(0, keepdims=True)
        variance = variance / jnp.maximum(profile.sum(0, keepdims=True), _TINY)
        middle = from_middle(len(places))
        # Where a pixel of the result is read from, less its own place; blank images stay as they are.
        moves = middle * (jnp.clip(jnp.sqrt(variance) / spread, *limits) - 1) + (middle - places)
        ink = read_along(ink, jnp.expand_dims(moves, 1 - axis), axis)
    return ink.transpose(2, 0, 1)


def _from_centre(ink: Float[Array, "h w batch"], axis: int) -> Float[Array, "side batch"]:
    """Places of rows (axis 0) or columns (axis 1), seen from the centre of mass."""
    profile = ink.sum(1 - axis)
    # Counted from the middle, to avoid cancellation of large numbers.
    places = from_middle(len(profile))
    return places - (places * profile).sum(0, keepdims=True) / jnp.maximum(
        profile.sum(0, keepdims=True), _TINY
    )


def from_middle(side: int) -> Float[np.ndarray, "side 1"]:
    """Returns the places of rows or columns, seen from the middle of the image."""
    return np.arange(side, dtype=np.float32)[:, None] - (side - 1) / 2


def read_along(
    ink: Float[Array, "h w batch"], moves: Float[Array, "#h #w #batch"], axis: int, reach: int = _REACH
) -> Float[Array, "h w batch"]:
    """Reads each pixel some pixels, `reach` at most, further down (axis 0) or to the right (axis 1), between two."""
    side = ink.shape[axis]
    offsets = np.arange(-reach, reach + 1, dtype=np.float32)
    moves = jnp.clip(moves, -reach, reach)
    shares = jnp.maximum(1 - jnp.abs(offsets[:, None, None, None] - moves[None]), 0)
    around = [(0, 0)] * 3
    around[axis] = (reach, reach)
    wide = jnp.pad(ink, around)
    # Without the barrier XLA recomputes the shares for each pixel of a row: 3 ms instead of 0.2 for 64 images.
    shares, wide = lax.platform_dependent(
        shares, wide, cpu=lambda *both: lax.optimization_barrier(both), default=lambda *both: both
    )
    # `lax` slices, as plain indexing with an unknown batch size becomes a gather, which exports do not support.
    parts = (
        lax.slice_in_dim(wide, k, k + side, axis=axis)
        * lax.squeeze(lax.slice_in_dim(shares, k, k + 1, axis=0), (0,))
        for k in range(len(offsets))
    )
    return functools.reduce(jnp.add, parts)
