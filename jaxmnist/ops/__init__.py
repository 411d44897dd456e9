"""The few array kernels where speed is won, and where the sources' numerics are pinned down.

Feature maps are `[channels, height, width, batch]` throughout: with the batch innermost a convolution is a
plain matrix product over long contiguous rows, a shift of the map is a contiguous copy and every reduction
vectorises. On a CPU that is several times faster than XLA's own convolution and does not slow down inside a
loop (jax issue 12868). On other platforms XLA assigns physical layouts itself, so the same program hands the
convolution to the vendor's library. This package is the only place that chooses.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Key, UInt32

from jaxmnist.ops.convolution import conv2d
from jaxmnist.ops.norm import batch_norm
from jaxmnist.runtime.devices import Device
from jaxmnist.runtime.mesh import is_on_mesh

__all__ = [
    "batch_norm",
    "compiler_options",
    "conv2d",
    "map_mean",
    "max_pool2",
    "random_words",
    "resize_nearest",
    "to_batch_minor",
]


def compiler_options(device: Device) -> dict[str, bool | int | str]:
    """What to give `jax.jit` for programs with convolutions on that device.

    On a CPU:

    - It keeps the barriers of this package through fusion. XLA drops them before, and then computes what
      precedes a convolution (dropout's hash, GELU's derivative) anew for every shifted copy of the map: the
      training step of `third` takes twice as long. An XLA without a pass of that name ignores the option.
    - LLVM optimises at level 1 instead of 3: `third` compiles in 4.4 s instead of 6.4 s, and the step takes
      the same time (medians 23.4 and 24.4 ms in turn), as its loops are vectorised either way.
    """
    if device.platform != "cpu":
        return {}
    return {"xla_disable_hlo_passes": "cse_barrier_expander", "xla_backend_optimization_level": 1}


def to_batch_minor(images: Float[Array, "batch h w c"]) -> Float[Array, "c h w batch"]:
    """Images in the public order as a feature map in the order of this package."""
    return images.transpose(3, 1, 2, 0)


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
    # The map is here for its shape alone; as its values are not used, the compiler does not keep it.
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


def map_mean(x: Float[Array, "c h w batch"]) -> Float[Array, "c 1 1 batch"]:
    """Mean of each map.

    On a CPU the map is computed first, with the barrier: inside the reduction XLA's library repeats whatever
    comes before it, several times slower than a loop does (7 % of an evaluation of `third`).
    """
    x = lax.platform_dependent(x, cpu=lax.optimization_barrier, default=lambda x: x)
    return x.mean((1, 2), keepdims=True)


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
    # A flat index cannot be divided along the last axis; its parts can, and make the same words.
    index = _index(shape) if is_on_mesh() else lax.iota(jnp.uint32, int(np.prod(shape)))
    words = (index ^ first) * np.uint32(0x9E3779B1)
    # Both rounds follow the second word: with one, draws whose keys differ only there are correlated.
    words = (words ^ (words >> 16)) + second
    words = (words ^ (words >> 16)) * np.uint32(0x85EBCA6B)
    words = (words ^ (words >> 13)) * np.uint32(0xC2B2AE35)
    return (words ^ (words >> 16)).reshape(shape)


def _index(shape: tuple[int, ...]) -> UInt32[Array, "..."]:
    """Each element's index in the flat order."""
    strides = [int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))]
    parts = [
        lax.broadcasted_iota(jnp.uint32, shape, axis) * np.uint32(strides[axis]) for axis in range(len(shape))
    ]
    return functools.reduce(jnp.add, parts)
