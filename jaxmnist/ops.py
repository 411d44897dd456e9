"""The few array kernels where speed is won, and where the sources' numerics are pinned down.

Feature maps are `[channels, height, width, batch]` throughout: with the batch innermost a convolution is a
plain matrix product over long contiguous rows, a shift of the map is a contiguous copy and every reduction
vectorises. On a CPU that is several times faster than XLA's own convolution and does not slow down inside a
loop (jax issue 12868). On other platforms XLA assigns physical layouts itself, so the same program hands the
convolution to the vendor's library. This module is the only place that chooses.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Key, UInt32

from jaxmnist.parallel import Device


def compiler_options(device: Device) -> dict[str, bool | int | str]:
    """What to give `jax.jit` for programs with convolutions on that device.

    On a CPU:

    - It keeps the barriers of this module through fusion. XLA drops them before, and then computes what
      precedes a convolution (dropout's hash, GELU's derivative) anew for every shifted copy of the map: the
      training step of `third` takes twice as long. An XLA without a pass of that name ignores the option.
    - LLVM optimises at level 1 instead of 3: `third` compiles in 4.4 s instead of 6.4 s, and the step takes
      the same time (medians 23.4 and 24.4 ms in turn), as its loops are vectorised either way.
    """
    if device.platform != "cpu":
        return {}
    return {"xla_disable_hlo_passes": "cse_barrier_expander", "xla_backend_optimization_level": 1}


def to_batch_minor(images: Float[Array, "batch h w c"]) -> Float[Array, "c h w batch"]:
    """Images in the public order as a feature map in the order of this module."""
    return images.transpose(3, 1, 2, 0)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv2d(
    x: Float[Array, "c_in h w batch"],
    kernel: Float[Array, "kh kw c_in c_out"],
    padding: int = 0,
    dilation: int = 1,
) -> Float[Array, "c_out h_out w_out batch"]:
    """Cross-correlation with stride 1 and symmetric zero padding.

    Args:
        x: feature map.
        kernel: weights, HWIO.
        padding: zeros added on every side of the map.
        dilation: distance in pixels between neighbouring kernel taps.
    """
    return lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(_sliced_conv, padding=padding, dilation=dilation),
        default=functools.partial(_library_conv, padding=padding, dilation=dilation),
    )


def _conv2d_forward(x, kernel, padding, dilation):
    return conv2d(x, kernel, padding, dilation), (x, kernel)


def _conv2d_backward(padding, dilation, residuals, dy):
    def library_vjp(x, kernel, dy):
        return jax.vjp(functools.partial(_library_conv, padding=padding, dilation=dilation), x, kernel)[1](dy)

    return lax.platform_dependent(
        *residuals,
        dy,
        cpu=functools.partial(_sliced_conv_vjp, padding=padding, dilation=dilation),
        default=library_vjp,
    )


conv2d.defvjp(_conv2d_forward, _conv2d_backward)


def _library_conv(x, kernel, *, padding, dilation):
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(1, 1),
        padding=[(padding, padding)] * 2,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("CHWN", "HWIO", "CHWN"),
    )


_SLICE_IMAGES = 32
_SLICE_BYTES = 8 * 2**20


def _slices(x, kernel):
    """In how many parts of the batch a convolution is done, so that a part's stacked copies stay in cache.

    A step of `step1` takes 1.2 s of processor time instead of 1.5 s (batch 128); where the copies of the whole
    batch are small, slices cost more than they save.
    """
    stacked = kernel.shape[1] * x.size * x.dtype.itemsize
    batch = x.shape[3]
    whole = kernel.shape[1] == 1 or stacked <= _SLICE_BYTES or batch % _SLICE_IMAGES
    return 1 if whole else batch // _SLICE_IMAGES


def _sliced_conv(x, kernel, *, padding, dilation):
    conv = functools.partial(_matmul_conv, padding=padding, dilation=dilation)
    parts = [conv(part, kernel) for part in jnp.split(x, _slices(x, kernel), axis=3)]
    return jnp.concatenate(parts, axis=3)


def _sliced_conv_vjp(x, kernel, dy, *, padding, dilation):
    vjp = functools.partial(_matmul_conv_vjp, padding=padding, dilation=dilation)
    pairs = zip(*(jnp.split(value, _slices(x, kernel), axis=3) for value in (x, dy)), strict=True)
    d_maps, d_kernels = zip(*(vjp(part, kernel, d_part) for part, d_part in pairs), strict=True)
    return jnp.concatenate(d_maps, axis=3), functools.reduce(jnp.add, d_kernels)


def _matmul_conv(x, kernel, *, padding, dilation):
    """Stack the column shifts of the map, take one product with all kernel rows, add the row shifts.

    Of the ways to write a small convolution as products this keeps the copies (kw maps) and the product's
    surplus (the rows that fall outside) smallest; a full patch matrix copies kh * kw maps. The barrier has
    the map computed once, see `compiler_options`.
    """
    kh, kw, _, c_out = kernel.shape
    x = lax.optimization_barrier(x)
    columns = _stack_column_shifts(_pad_map(x, padding), kw, dilation)
    products = lax.dot_general(_kernel_matrix(kernel), columns, (((1,), (0,)), ((), ())))
    height = products.shape[1] - (kh - 1) * dilation
    rows = [
        lax.slice_in_dim(products[i * c_out : (i + 1) * c_out], i * dilation, i * dilation + height, axis=1)
        for i in range(kh)
    ]
    return functools.reduce(jnp.add, rows)


def _matmul_conv_vjp(x, kernel, dy, *, padding, dilation):
    """The transpose of each step of `_matmul_conv`; both products share the stacked row shifts of `dy`."""
    kh, kw, c_in, c_out = kernel.shape
    x, dy = lax.optimization_barrier((x, dy))
    overhang_h, overhang_w = (kh - 1) * dilation, (kw - 1) * dilation
    columns = _stack_column_shifts(_pad_map(x, padding), kw, dilation)
    rows = jnp.concatenate(
        [jnp.pad(dy, ((0, 0), (i * dilation, overhang_h - i * dilation), (0, 0), (0, 0))) for i in range(kh)]
    )
    d_columns = lax.dot_general(_kernel_matrix(kernel), rows, (((0,), (0,)), ((), ())))
    d_padded = functools.reduce(
        jnp.add,
        [
            jnp.pad(
                d_columns[j * c_in : (j + 1) * c_in],
                ((0, 0), (0, 0), (j * dilation, overhang_w - j * dilation), (0, 0)),
            )
            for j in range(kw)
        ],
    )
    height, width = x.shape[1:3]
    dx = d_padded[:, padding : padding + height, padding : padding + width]
    d_matrix = _long_inner_product(rows.reshape(kh * c_out, -1), columns.reshape(kw * c_in, -1))
    return dx, d_matrix.reshape(kh, c_out, kw, c_in).transpose(0, 2, 3, 1)


def _long_inner_product(a, b):
    """`a @ b.T` for two flat matrices with very long rows.

    The barrier makes XLA really transpose `b`: its product of two matrices that are both long in the inner
    dimension reaches a third of the speed (1.9 ms against 1.05 ms for 42x39936 by 39936x30).
    """
    return a @ lax.optimization_barrier(b.T)


def _kernel_matrix(kernel):
    kh, kw, c_in, c_out = kernel.shape
    return kernel.transpose(0, 3, 1, 2).reshape(kh * c_out, kw * c_in)


def _pad_map(x, padding):
    return jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0))) if padding else x


def _stack_column_shifts(x, kw, dilation):
    width = x.shape[2] - (kw - 1) * dilation
    shifts = [lax.slice_in_dim(x, j * dilation, j * dilation + width, axis=2) for j in range(kw)]
    return jnp.concatenate(shifts) if kw > 1 else x


@jax.custom_vjp
def max_pool2(x: Float[Array, "c h w batch"]) -> Float[Array, "c h_half w_half batch"]:
    """Maximum over 2x2 windows with stride 2; an odd last row or column is dropped.

    A tie's gradient goes to the first of the equal elements in row order, as in the sources. Ties are
    the rule, not the exception: wherever the image is blank, neighbouring features are equal.
    """
    return functools.reduce(jnp.maximum, _pool_corners(x))


def _max_pool2_forward(x):
    top_left, top_right, bottom_left, bottom_right = _pool_corners(x)
    # Comparisons of the elements with each other, never with the maximum: XLA may compute the map anew for
    # the gradient and round it differently than where the maximum was taken, and then none is equal to it.
    right_of_top = top_right > top_left
    right_of_bottom = bottom_right > bottom_left
    top, bottom = jnp.maximum(top_left, top_right), jnp.maximum(bottom_left, bottom_right)
    return jnp.maximum(top, bottom), (x, bottom > top, right_of_top, right_of_bottom)


def _max_pool2_backward(residuals, dy):
    x, lower, right_of_top, right_of_bottom = residuals
    c, height, width, batch = x.shape

    def row(chosen, right):
        left_and_right = (jnp.where(chosen & side, dy, 0.0) for side in (~right, right))
        return jnp.stack(list(left_and_right), axis=3)

    rows = [row(~lower, right_of_top), row(lower, right_of_bottom)]
    even = jnp.stack(rows, axis=2).reshape(c, height // 2 * 2, width // 2 * 2, batch)
    return (jnp.pad(even, ((0, 0), (0, height % 2), (0, width % 2), (0, 0))),)


max_pool2.defvjp(_max_pool2_forward, _max_pool2_backward)


def _pool_corners(x):
    # Slices and maxima rather than `reduce_window`, whose gradient is serial on a CPU and half of the step.
    height, width = x.shape[1:3]
    even = x[:, : height // 2 * 2, : width // 2 * 2]
    return [
        lax.slice(even, (0, i, j, 0), even.shape, strides=(1, 2, 2, 1)) for i in range(2) for j in range(2)
    ]


def resize_nearest(x: Float[Array, "c h w batch"], size: int) -> Float[Array, "c size size batch"]:
    """Nearest-neighbour resize that reads source index floor(i * in / out), as the sources do.

    `jax.image.resize` samples at half-pixel centres instead and reads other pixels.
    """
    return _take_rows(_take_rows(x, size, axis=1), size, axis=2)


def _take_rows(x, size, axis):
    # Runs of equal stride as slices: the gradient of a slice is a pad, that of a gather a slow scatter.
    index = np.arange(size) * x.shape[axis] // size
    parts = []
    start = 0
    while start < size:
        stop = start + 1
        stride = int(index[stop] - index[start]) if stop < size else 1
        while stop < size and index[stop] - index[stop - 1] == stride > 0:
            stop += 1
        first, last = int(index[start]), int(index[stop - 1])
        parts.append(lax.slice_in_dim(x, first, last + 1, stride=max(stride, 1), axis=axis))
        start = stop
    return jnp.concatenate(parts, axis=axis) if len(parts) > 1 else parts[0]


def batch_moments(
    x: Float[Array, "c h w batch"], mask: Float[Array, " batch"] | None
) -> tuple[Float[Array, " c"], Float[Array, " c"], Float[Array, ""]]:
    """Mean and biased variance of each channel over the images that count.

    Args:
        x: feature map.
        mask: 1 for images that count, 0 for padding; None counts all.

    Returns:
        Mean, biased variance, and the number of values that entered each.
    """
    height, width, batch = x.shape[1:]
    mask = jnp.ones(batch, x.dtype) if mask is None else mask
    count = mask.sum() * (height * width)
    # Sums over the map first, the batch last: the mask then costs one tiny product instead of a pass.
    mean = x.sum((1, 2)) @ mask / count
    centred = x - mean[:, None, None, None]
    variance = (centred * centred).sum((1, 2)) @ mask / count
    return mean, variance, count


def random_words(
    key: Key[Array, ""] | UInt32[Array, " words"], shape: tuple[int, ...]
) -> UInt32[Array, "..."]:
    """Uniform random 32-bit words: a counter-based integer hash of the key and each element's index.

    Two multiply-and-shift rounds of MurmurHash3's finaliser after a keyed one. For a network's many draws of
    different sizes threefry costs 8 ns an element on a CPU and most of the compile time (the initial weights
    of `third`: 8 s against 1 s); this one costs under 0.5 ns. Keys still come from `jax.random`.

    Args:
        key: equal keys give equal words; its first two words count.
        shape: shape of the result.
    """
    first, second = jax.random.key_data(key)[:2]
    words = (lax.iota(jnp.uint32, int(np.prod(shape))) ^ first) * np.uint32(0x9E3779B1)
    # Both rounds follow the second word: with one, draws whose keys differ only there are correlated.
    words = (words ^ (words >> 16)) + second
    words = (words ^ (words >> 16)) * np.uint32(0x85EBCA6B)
    words = (words ^ (words >> 13)) * np.uint32(0xC2B2AE35)
    return (words ^ (words >> 16)).reshape(shape)
