"""Array kernels that decide the speed, or fix the numerics of the sources.

Feature maps are `[channels, height, width, batch]` throughout: with the batch innermost a convolution is a plain
matrix product over long contiguous rows, a shift of the map is a contiguous copy, and every reduction vectorises.
On a CPU that is several times faster than XLA's own convolution and does not slow down inside a loop (jax issue
12868). On other platforms XLA assigns physical layouts itself, so the same program calls the convolution of the
vendor's library. Only this package chooses between the two.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental.layout import Layout, with_layout_constraint
from jaxtyping import Array, Bool, Float, Int32, Key, UInt32

from jaxmnist.ops.convolution import conv2d
from jaxmnist.ops.gelu import gelu
from jaxmnist.ops.norm import batch_norm
from jaxmnist.ops.precision import as_factors, factors, products_in
from jaxmnist.runtime.devices import Device
from jaxmnist.runtime.parts import first_row

__all__ = [
    "as_factors",
    "batch_innermost",
    "batch_norm",
    "compiler_options",
    "conv2d",
    "dropout_mask",
    "factors",
    "gelu",
    "map_mean",
    "max_pool2",
    "products_in",
    "random_words",
    "resize_nearest",
    "to_batch_minor",
]


def compiler_options(device: Device, devices: int = 1) -> dict[str, bool | int | str]:
    """Returns the compiler options of `jax.jit` for programs with convolutions on a device, or on several alike.

    On a CPU:

    - The barriers of this package survive fusion. By default XLA drops them first and recomputes the input of a
      convolution (dropout's hash, GELU's derivative) for every shifted copy of the map, and the training step of
      `third` takes twice as long. An XLA without a pass of that name ignores the option.
    - Operations follow each other in the order that needs the least memory, so that a product reads the stacked copies
      while they are in the inner caches. XLA's own order is made for operations side by side.
    - Vectors are as wide as the processor has them; by default XLA takes half of AVX-512's.
    - On several devices, each with a core of its own, loops are not divided among the cores.
    - LLVM optimises at level 1 instead of 3: `third` compiles in 4.4 s instead of 6.4 s, and the step takes the
      same time (medians 23.4 and 24.4 ms in turn), as its loops are vectorised either way.
    """
    if device.platform != "cpu":
        return {}
    unwanted = ["cse_barrier_expander"] + ["cpu-parallel-task-assigner"] * (devices > 1)
    return {
        "xla_disable_hlo_passes": ",".join(unwanted),
        "xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED",
        "xla_cpu_prefer_vector_width": 512,
        "xla_backend_optimization_level": 1,
    }


def to_batch_minor(images: Float[Array, "batch h w c"]) -> Float[Array, "c h w batch"]:
    """Transposes images to the feature map layout of this package."""
    return images.transpose(3, 1, 2, 0)


def batch_innermost(images: Float[Array, "batch h w c"]) -> Float[Array, "batch h w c"]:
    """Puts images in memory on a CPU in the order to which `to_batch_minor` transposes them; their shape stays.

    XLA leaves them image by image. The loop before, if it has the batch innermost as that of `deskew`, then writes
    pixels far apart, which takes seven times as long. Not for use within a network: a program with such a request
    cannot be exported.
    """
    return lax.platform_dependent(
        images, cpu=lambda x: with_layout_constraint(x, Layout((1, 2, 3, 0))), default=lambda x: x
    )


@jax.custom_vjp
def max_pool2(x: Float[Array, "c h w batch"]) -> Float[Array, "c h_half w_half batch"]:
    """Takes the maximum over 2x2 windows with stride 2; an odd last row or column is dropped.

    The gradient of a tie goes to the first of the equal elements in row order, as in the sources. Ties are
    common: wherever the image is blank, neighbouring features are equal.
    """
    return functools.reduce(jnp.maximum, _pool_corners(x))


def _max_pool2_forward(x):
    top_left, top_right, bottom_left, bottom_right = _pool_corners(x)
    # Elements are compared with each other, never with the maximum: XLA may recompute the map for the gradient
    # with another rounding, and then no element equals the maximum.
    right_of_top = top_right > top_left
    right_of_bottom = bottom_right > bottom_left
    top, bottom = jnp.maximum(top_left, top_right), jnp.maximum(bottom_left, bottom_right)
    return jnp.maximum(top, bottom), (x, bottom > top, right_of_top, right_of_bottom)


def _max_pool2_backward(residuals, dy):
    # Only the shape of the map is used, so the compiler does not keep its values.
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
    # Not `reduce_window`: its gradient is serial on a CPU and takes half of the step.
    height, width = x.shape[1:3]
    even = x[:, : height // 2 * 2, : width // 2 * 2]
    return [
        lax.slice(even, (0, i, j, 0), even.shape, strides=(1, 2, 2, 1)) for i in range(2) for j in range(2)
    ]


def map_mean(x: Float[Array, "c h w batch"]) -> Float[Array, "c 1 1 batch"]:
    """Computes the mean of each map.

    On a CPU a barrier makes XLA compute the map first: fused into the reduction it is several times slower (7 %
    of an evaluation of `third`).
    """
    x = lax.platform_dependent(x, cpu=lax.optimization_barrier, default=lambda x: x)
    return x.mean((1, 2), keepdims=True)


def resize_nearest(x: Float[Array, "c h w batch"], size: int) -> Float[Array, "c size size batch"]:
    """Resizes to the nearest neighbour with source index floor(i * in / out), as the sources do.

    `jax.image.resize` samples at half-pixel centres and reads other pixels.
    """
    return _take_rows(_take_rows(x, size, axis=1), size, axis=2)


def _take_rows(x, size, axis):
    # Slices of equal stride: the gradient of a slice is a pad, that of a gather a slow scatter.
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


def dropout_mask(
    key: Key[Array, ""] | UInt32[Array, " words"], shape: tuple[int, ...], rate: float | Array
) -> Bool[Array, "c h w batch"]:
    """Draws which values of a feature map a dropout keeps, each with chance 1 - `rate`; of a divided batch, its part.

    Each value mixes a word of its pixel with one of its image, which takes half of the operations of `random_words`.
    """
    words = jax.random.key_data(key)[:2]
    pixels = random_words(words, (*shape[:3], 1))
    images = random_words(~words, (1, 1, 1, shape[3]), start=first_row(shape[3]))
    # Without the barrier the loop over the map computes both anew for each value.
    pixels, images = lax.optimization_barrier((pixels, images))
    mixed = (pixels ^ images) * np.uint32(0x9E3779B1)
    # Without the second round the values of two pixels in two images are correlated.
    mixed = (mixed ^ (mixed >> 15)) * np.uint32(0x85EBCA6B)
    if isinstance(rate, jax.Array):
        return mixed >= (rate * 2.0**32).astype(jnp.uint32)
    return mixed >= np.uint32(round(rate * 2**32))


def random_words(
    key: Key[Array, ""] | UInt32[Array, " words"], shape: tuple[int, ...], start: int | Int32[Array, ""] = 0
) -> UInt32[Array, "..."]:
    """Draws uniform random 32-bit words: a counter-based integer hash of the key and each element's index.

    A keyed multiply-and-shift round is followed by two of MurmurHash3's finaliser. For many draws of different sizes
    threefry costs 8 ns an element on a CPU and most of the compile time (the initial weights of `third`: 8 s instead
    of 1 s); this hash costs under 0.5 ns. Keys still come from `jax.random`.

    Args:
        key: equal keys give equal words; only the first two words of the key are used.
        shape: shape of the result.
        start: index of the first word, where these are a part of a longer draw.
    """
    first, second = jax.random.key_data(key)[:2]
    if not isinstance(start, int):
        # The barrier makes the index depend on the key. Else that of a part is the same in every step, XLA takes it out
        # of the loop over steps, and each draw reads an array of indices instead of counting. XLA 0.12 ends the process
        # for a constant behind a barrier.
        start, _ = lax.optimization_barrier((start, first))
    index = lax.iota(jnp.uint32, int(np.prod(shape))).reshape(shape) + jnp.uint32(start)
    words = (index ^ first) * np.uint32(0x9E3779B1)
    # Two rounds follow the second word: with one, draws whose keys differ only in that word are correlated.
    words = (words ^ (words >> 16)) + second
    words = (words ^ (words >> 16)) * np.uint32(0x85EBCA6B)
    words = (words ^ (words >> 13)) * np.uint32(0xC2B2AE35)
    return words ^ (words >> 16)
