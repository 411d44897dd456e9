"""Initial weights other than the networks' own."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

_KERNELS = {
    # K. He et al. 2015: a normal distribution of variance 2 / fan-in, for ReLU.
    "he": jax.nn.initializers.he_normal(),
    # A. Saxe et al. 2014: each unit's weights orthogonal to the others', with the gain of ReLU.
    "orthogonal": jax.nn.initializers.orthogonal(2**0.5),
}


def initialised(params: PyTree, key: Key[Array, ""], kind: Literal["he", "orthogonal"]) -> PyTree:
    """Parameters with kernels drawn anew and biases 0; scales of normalisations stay 1.

    Args:
        params: what the network's own initialisation gave.
        key: decides what is drawn; each kernel draws by its place among the parameters.
        kind: how.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    keys = dict(zip([path for path, _ in leaves], jax.random.split(key, len(leaves)), strict=True))

    def leaf(path: tuple, value: Array) -> Array:
        if path[-1].key == "kernel":
            return _KERNELS[kind](keys[path], value.shape, value.dtype)
        return jnp.zeros_like(value) if path[-1].key == "bias" else value

    return jax.tree_util.tree_map_with_path(leaf, params)
