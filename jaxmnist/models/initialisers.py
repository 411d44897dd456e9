"""Initial weights in place of the networks' own."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

_KERNELS = {
    # K. He et al. 2015: normal with variance 2 / fan-in, for ReLU.
    "he": jax.nn.initializers.he_normal(),
    # A. Saxe et al. 2014: the weights of different units are orthogonal; scaled by the gain of ReLU.
    "orthogonal": jax.nn.initializers.orthogonal(2**0.5),
}


def initialised(params: PyTree, key: Key[Array, ""], kind: Literal["he", "orthogonal"]) -> PyTree:
    """Draws new kernels and sets biases to 0; scales of normalisations stay 1.

    Args:
        params: initial parameters of the network.
        key: random key; each kernel's draw also depends on its position among the parameters.
        kind: distribution of the kernels.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    keys = dict(zip([path for path, _ in leaves], jax.random.split(key, len(leaves)), strict=True))

    def leaf(path: tuple, value: Array) -> Array:
        if path[-1].key == "kernel":
            return _KERNELS[kind](keys[path], value.shape, value.dtype)
        return jnp.zeros_like(value) if path[-1].key == "bias" else value

    return jax.tree_util.tree_map_with_path(leaf, params)
