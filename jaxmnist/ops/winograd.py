"""3x3 convolutions in four ninths of the multiplications: Winograd's F(2x2, 3x3).

Each 2x2 pixels of the result follow from a 4x4 tile of the map. A tile and a kernel are transformed into 16 numbers
each, whose products over the channels, transformed back, are the result. The transforms take sums only, and halves of
the kernel's.

Source: A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016 (arXiv 1509.09308).
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

_OF_KERNEL = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])


def winograd_conv(
    x: Float[Array, "c_in h w batch"], kernel: Float[Array, "3 3 c_in c_out"], padding: int
) -> Float[Array, "c_out h_out w_out batch"]:
    """Computes the cross-correlation with symmetric zero padding; height and width of the result are even."""
    weights = _transformed_kernel(kernel)
    products = [
        lax.optimization_barrier(lax.dot_general(weight, tile, (((1,), (0,)), ((), ()))))
        for weight, tile in zip(weights, _tiles(x, padding), strict=True)
    ]
    rows = [_of_result(products[4 * i : 4 * i + 4]) for i in range(4)]
    left, right = (_of_result([row[side] for row in rows]) for side in range(2))
    return _interleaved([_interleaved(pair, axis=2) for pair in zip(left, right, strict=True)], axis=1)


def winograd_conv_vjp(
    x: Float[Array, "c_in h w batch"],
    kernel: Float[Array, "3 3 c_in c_out"],
    dy: Float[Array, "c_out h_out w_out batch"],
    padding: int,
) -> tuple[Float[Array, "c_in h w batch"], Float[Array, "3 3 c_in c_out"]]:
    """Returns the gradients of map and kernel: each step of `winograd_conv` transposed."""
    tiles, height, width = _tiles(x, padding), *x.shape[1:3]
    rows = [_of_result_transposed([dy[:, p::2, q::2] for q in range(2)]) for p in range(2)]
    columns = [_of_result_transposed([rows[p][j] for p in range(2)]) for j in range(4)]
    d_products = [lax.optimization_barrier(columns[j][i]) for i in range(4) for j in range(4)]
    d_weights = jnp.stack([products_of_rows(*pair) for pair in zip(d_products, tiles, strict=True)])
    of_kernel = jnp.asarray(_OF_KERNEL, kernel.dtype)
    d_kernel = jnp.einsum(
        "ia,jb,ijoc->abco", of_kernel, of_kernel, d_weights.reshape(4, 4, *d_weights.shape[1:])
    )
    d_tiles = [
        lax.optimization_barrier(lax.dot_general(weight, d_product, (((0,), (0,)), ((), ()))))
        for weight, d_product in zip(_transformed_kernel(kernel), d_products, strict=True)
    ]
    d_rows = [_of_map_transposed(d_tiles[4 * i : 4 * i + 4], axis=2) for i in range(4)]
    dx = _of_map_transposed(d_rows, axis=1)
    return dx[:, padding : padding + height, padding : padding + width], d_kernel


def products_of_rows(
    x: Float[Array, "c_x h w batch"], y: Float[Array, "c_y h w batch"]
) -> Float[Array, "c_x c_y"]:
    """Scalar products of each channel of one map with each channel of another."""
    # Flattened, or XLA makes a transposed copy of `y`: 10 % of the step, as the rows share a few cache sets.
    return jnp.inner(x.reshape(len(x), -1), y.reshape(len(y), -1))


def _transformed_kernel(kernel: Array) -> Float[Array, "16 c_out c_in"]:
    of_kernel = jnp.asarray(_OF_KERNEL, kernel.dtype)
    return jnp.einsum("ia,jb,abco->ijoc", of_kernel, of_kernel, kernel).reshape(16, *kernel.shape[:1:-1])


def _tiles(x: Array, padding: int) -> list[Float[Array, "c_in tile_rows tile_columns batch"]]:
    """The 16 numbers of every transformed tile, which forward pass and gradient share behind these barriers."""
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    return [lax.optimization_barrier(part) for row in _of_map(x, axis=1) for part in _of_map(row, axis=2)]


def _of_map(x: Array, axis: int) -> tuple[Array, Array, Array, Array]:
    length = x.shape[axis] - 3
    a, b, c, d = (lax.slice_in_dim(x, start, start + length, 2, axis) for start in range(4))
    return a - c, b + c, c - b, b - d


def _of_map_transposed(parts: Sequence[Array], axis: int) -> Array:
    a, b, c, d = parts[0], parts[1] - parts[2] + parts[3], parts[1] + parts[2] - parts[0], -parts[3]
    return _interleaved([_overlapped(a, c, axis), _overlapped(b, d, axis)], axis)


def _overlapped(these: Array, of_those_before: Array, axis: int) -> Array:
    """Adds up what neighbouring tiles give the pixels that they share."""
    ends = [[(0, 0)] * 4, [(0, 0)] * 4]
    ends[0][axis], ends[1][axis] = (0, 1), (1, 0)
    return jnp.pad(these, ends[0]) + jnp.pad(of_those_before, ends[1])


def _of_result(parts: Sequence[Array]) -> tuple[Array, Array]:
    return parts[0] + parts[1] + parts[2], parts[1] - parts[2] - parts[3]


def _of_result_transposed(parts: Sequence[Array]) -> tuple[Array, Array, Array, Array]:
    even, odd = parts
    return even, even + odd, even - odd, -odd


def _interleaved(parts: Sequence[Array], axis: int) -> Array:
    """Takes elements of two arrays in turn along an axis."""
    shape = parts[0].shape
    return jnp.stack(parts, axis + 1).reshape(*shape[:axis], 2 * shape[axis], *shape[axis + 1 :])
