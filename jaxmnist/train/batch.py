"""Batches: the order in which an epoch visits the images, and the images of one step."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float32, Int32, Key, UInt8

from jaxmnist.config import Recipe
from jaxmnist.runtime.mesh import over_data


class Batch(NamedTuple):
    """Raw images with labels; the mask is 1 for images that count and 0 for padding."""

    images: UInt8[Array, "batch 28 28"]
    labels: Int32[Array, " batch"]
    mask: Float32[Array, " batch"]


class EpochData(NamedTuple):
    """A dataset on the device, and the order in which an epoch visits it."""

    images: UInt8[Array, "n 28 28"]
    labels: Int32[Array, " n"]
    order: Int32[Array, "*runs padded"]
    """Indices as `epoch_order` gives them; stacked where several runs train in one program."""


PADDING = -1
"""Index of no image; its mask is 0."""


def epoch_order(
    key: Key[Array, ""], epoch: Int32[Array, ""], split: Int32[Array, " n"], *, recipe: Recipe
) -> Int32[Array, " padded"]:
    """Shuffles a split for an epoch: each image once, padded to whole batches.

    Args:
        key: the run's `Keys.order`.
        epoch: number of the epoch, from 0; besides the key the order depends on nothing else.
        split: indices of the split's images.
        recipe: batch size, and whether all epochs repeat the order of the first.
    """
    epoch = jnp.int32(0) if recipe.repeat_epochs else epoch
    order = jax.random.permutation(jax.random.fold_in(key, epoch), split)
    return jnp.pad(order, (0, -len(split) % recipe.batch_size), constant_values=PADDING)


def gather(data: EpochData, first: Int32[Array, ""], size: int) -> Batch:
    """Collects the images of an epoch from position `first` on."""
    index = lax.dynamic_slice_in_dim(data.order, first, size)
    mask = (index != PADDING).astype(jnp.float32)
    # Without the barrier XLA looks the mask up again for every element of every map that batch norm sees.
    mask, index = lax.optimization_barrier((mask, jnp.maximum(index, 0)))
    return over_data(Batch(data.images[index], data.labels[index], mask))
