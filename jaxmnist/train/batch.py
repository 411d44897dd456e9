"""Batches: the order in which an epoch visits the images, and what a step is given of them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float32, Int32, Key, UInt8

from jaxmnist.config import Recipe
from jaxmnist.runtime.mesh import over_data


class Batch(NamedTuple):
    """Raw images with labels; `mask` is 1 for images that count and 0 for padding."""

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
"""Index that stands for no image; its mask is 0."""


def epoch_order(
    key: Key[Array, ""], epoch: Int32[Array, ""], split: Int32[Array, " n"], *, recipe: Recipe
) -> Int32[Array, " padded"]:
    """The order in which an epoch visits a split: each image once, filled up to whole batches.

    Args:
        key: the run's `Keys.order`.
        epoch: counted from 0; the order depends on nothing else.
        split: indices of the split's images.
        recipe: images per batch, and whether all epochs have the order of the first.
    """
    epoch = jnp.int32(0) if recipe.repeat_epochs else epoch
    order = jax.random.permutation(jax.random.fold_in(key, epoch), split)
    return jnp.pad(order, (0, -len(split) % recipe.batch_size), constant_values=PADDING)


def gather(data: EpochData, number: Int32[Array, ""], size: int) -> Batch:
    """Collects batch `number` of an epoch, counted from 0."""
    index = lax.dynamic_slice_in_dim(data.order, number * size, size)
    mask = (index != PADDING).astype(jnp.float32)
    # A barrier, or XLA looks the mask up anew wherever a batch norm uses it, once per element of the map.
    mask, index = lax.optimization_barrier((mask, jnp.maximum(index, 0)))
    return over_data(Batch(data.images[index], data.labels[index], mask))
