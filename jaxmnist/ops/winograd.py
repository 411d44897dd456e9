"""3x3 convolutions in half of the multiplications: Winograd's F(4, 3), or F(2, 3), along the height of a map.

Four rows of the result follow from a tile of six rows of the map. The rows of a tile and of the kernel are combined
into six each, whose products over channels and columns, combined again, are the result. A direct convolution takes
twelve products. Maps whose height is even, but not divisible by four, are divided into tiles of two rows, four products
instead of six.

Source: A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016 (arXiv 1509.09308).
"""

import functools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

# A row of a tile is a coefficient of a polynomial, a combination its value at one of these points or its leading
# coefficient. With 1 and 2 instead of 3/4 and 3/2, the usual choice, rounding errors are twice as large.
_POINTS = {2: (0.0, 1.0, -1.0), 4: (0.0, 0.75, -0.75, 1.5, -1.5)}


class _Transform(NamedTuple):
    """Combinations of rows, each with a row of coefficients."""

    of_map: np.ndarray
    """The rows of a tile, `[rows + 2, rows + 2]`."""
    of_kernel: np.ndarray
    """The three rows of the kernel, `[rows + 2, 3]`."""
    of_result: np.ndarray
    """The products, to the rows of the result, `[rows, rows + 2]`."""


def row_tile(height: int, dilation: int) -> int | None:
    """Returns the rows of a result of that height in each tile, or None if no size of tile divides it."""
    return next((rows for rows in (4, 2) if height % (rows * dilation) == 0), None)


def winograd_conv(
    x: Float[Array, "c_in h w batch"], kernel: Float[Array, "3 3 c_in c_out"], padding: int, dilation: int
) -> Float[Array, "c_out h_out w_out batch"]:
    """Computes the cross-correlation with symmetric zero padding, of a height that `row_tile` divides."""
    rows, tiles = _tiles(_padded(x, padding, kernel), dilation)
    products = [
        lax.optimization_barrier(lax.dot_general(weight, tile, (((1,), (0,)), ((), ()))))
        for weight, tile in zip(_weights(kernel, rows), tiles, strict=True)
    ]
    return _joined(_combined(_transform(rows).of_result, products), dilation)


def winograd_conv_vjp(
    x: Float[Array, "c_in h w batch"],
    kernel: Float[Array, "3 3 c_in c_out"],
    dy: Float[Array, "c_out h_out w_out batch"],
    padding: int,
    dilation: int,
) -> tuple[Float[Array, "c_in h w batch"], Float[Array, "3 3 c_in c_out"]]:
    """Returns the gradients of map and kernel: each step of `winograd_conv` transposed."""
    c_in, height, width = x.shape[:3]
    rows, tiles = _tiles(_padded(x, padding, kernel), dilation)
    transform, weights = _transform(rows), _weights(kernel, rows)
    d_products = [
        lax.optimization_barrier(part)
        for part in _combined(transform.of_result.T, _divided(dy, rows, dilation))
    ]
    d_weights = jnp.stack([products_of_rows(*pair) for pair in zip(tiles, d_products, strict=True)])
    d_kernel = jnp.einsum(
        "ta,tbio->abio",
        jnp.asarray(transform.of_kernel, kernel.dtype),
        d_weights.reshape(rows + 2, 3, c_in, kernel.shape[3]),
    )
    d_tiles = [
        _unstacked(lax.dot_general(weight, d_product, (((0,), (0,)), ((), ()))), dilation)
        for weight, d_product in zip(weights, d_products, strict=True)
    ]
    d_rows = [lax.optimization_barrier(part) for part in _combined(transform.of_map.T, d_tiles)]
    dx = _joined(_overlapped(d_rows, dilation), dilation)
    return dx[:, padding : padding + height, padding : padding + width], d_kernel


def products_of_rows(
    x: Float[Array, "c_x h w batch"], y: Float[Array, "c_y h w batch"]
) -> Float[Array, "c_x c_y"]:
    """Scalar products of each channel of one map with each channel of another.

    XLA's library copies one of them into another order. The barrier keeps XLA from exchanging them: with the columns
    of a map first, the gradient second, a product takes up to a third less time.
    """
    # Flattened, or XLA makes a transposed copy of `y`: 10 % of the step, as the rows share a few cache sets.
    return lax.optimization_barrier(jnp.inner(x.reshape(len(x), -1), y.reshape(len(y), -1)))


@functools.cache
def _transform(rows: int) -> _Transform:
    points = np.array(_POINTS[rows])
    others = [np.delete(points, number) for number in range(len(points))]
    of_map = np.vstack([*([*np.poly(rest)[::-1], 0] for rest in others), np.poly(points)[::-1]])
    scale = [1 / np.prod(point - rest) for point, rest in zip(points, others, strict=True)]
    of_kernel = np.vstack([np.vander(points, 3, increasing=True) * np.array(scale)[:, None], [0, 0, 1]])
    of_result = np.vstack([np.vander(points, rows, increasing=True), [*[0] * (rows - 1), 1]]).T
    return _Transform(of_map, of_kernel, of_result)


def _weights(kernel: Array, rows: int) -> Float[Array, "tile_rows c_out columns"]:
    of_kernel = jnp.asarray(_transform(rows).of_kernel, kernel.dtype)
    weights = jnp.einsum("ta,abio->tobi", of_kernel, kernel)
    return weights.reshape(*weights.shape[:2], -1)


def _tiles(x: Array, dilation: int) -> tuple[int, list[Float[Array, "columns tile_rows w_out batch"]]]:
    """The rows of a tile, and the combined rows of all tiles with their column shifts stacked."""
    height, width = x.shape[1] - 2 * dilation, x.shape[2] - 2 * dilation
    rows = row_tile(height, dilation)
    assert rows
    upper, lower = (_divided(x[:, top : top + height], rows, dilation) for top in (0, 2 * dilation))
    return rows, [
        lax.optimization_barrier(
            jnp.concatenate([part[:, :, j * dilation : j * dilation + width] for j in range(3)])
        )
        for part in _combined(_transform(rows).of_map, [*upper[:2], *lower])
    ]


def _padded(x: Array, padding: int, kernel: Array) -> Array:
    """Pads a map with zeros. They follow from the kernel, or XLA makes a `pad`, which it computes value by value."""
    if not padding:
        return x
    zero = kernel[0, 0, 0, 0] * 0
    shape = (len(x), x.shape[1] + 2 * padding, x.shape[2] + 2 * padding, x.shape[3])
    zeros = lax.optimization_barrier(jnp.broadcast_to(zero, shape))
    return lax.dynamic_update_slice(zeros, x, (0, padding, padding, 0))


def _unstacked(
    columns: Float[Array, "columns h w batch"], dilation: int
) -> Float[Array, "c_in h w_in batch"]:
    """Adds up stacked column shifts where they came from."""
    columns = lax.optimization_barrier(columns)
    shifts = [
        jnp.pad(part, ((0, 0), (0, 0), (j * dilation, (2 - j) * dilation), (0, 0)))
        for j, part in enumerate(jnp.split(columns, 3))
    ]
    return lax.optimization_barrier(functools.reduce(jnp.add, shifts))


def _overlapped(d_rows: Sequence[Array], dilation: int) -> Iterable[Array]:
    """Adds up what neighbouring tiles give the rows that they share, the last two and the first two of a tile."""
    for row, part in enumerate(d_rows[:-2]):
        own = jnp.pad(part, ((0, 0), (0, dilation), (0, 0), (0, 0)))
        if row >= 2:
            yield own
        else:
            yield own + jnp.pad(d_rows[row - 2], ((0, 0), (dilation, 0), (0, 0), (0, 0)))


def _combined(coefficients: np.ndarray, parts: Sequence[Array]) -> Iterable[Array]:
    """Returns the sum of the parts with each row of coefficients."""
    for row in coefficients:
        terms = [part * float(factor) for part, factor in zip(parts, row, strict=True) if factor]
        yield functools.reduce(jnp.add, terms)


def _divided(x: Array, rows: int, dilation: int) -> list[Array]:
    """Divides the rows of a map by their places in the tiles."""
    tiled = x.reshape(len(x), -1, rows, dilation, *x.shape[2:])
    return [tiled[:, :, row].reshape(len(x), -1, *x.shape[2:]) for row in range(rows)]


def _joined(parts: Iterable[Array], dilation: int) -> Array:
    """Puts the rows that `_divided` divides together."""
    tiled = [part.reshape(len(part), -1, dilation, *part.shape[2:]) for part in parts]
    joined = jnp.stack(tiled, axis=2)
    return joined.reshape(len(joined), -1, *joined.shape[4:])
