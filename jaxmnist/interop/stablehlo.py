"""StableHLO: what XLA compiles, as a versioned file of `jax.export`; reading it takes JAX and nothing of ours."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jaxtyping import Float32, UInt8

from jaxmnist.config import Recipe
from jaxmnist.interop.jaxpr import plain, predictor
from jaxmnist.models import IMAGE_SHAPE

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def to_stablehlo(model: Any, variables: Any, recipe: Recipe) -> bytes:
    """The file: from uint8 `[batch, 28, 28]` to probabilities, float32 `[batch, 10]`, for any number of images.

    Args:
        model: a network of `jaxmnist.models`.
        variables: its weights.
        recipe: says how images are normalised, which is part of the file.
    """
    variables = jax.device_get(variables)
    function = plain(predictor(lambda images: model.apply(variables, images), recipe))
    images = jax.ShapeDtypeStruct((*export.symbolic_shape("batch"), *IMAGE_SHAPE[:2]), jnp.uint8)
    return bytes(export.export(jax.jit(function), platforms=PLATFORMS)(images).serialize())


def run_stablehlo(file: bytes, images: UInt8[np.ndarray, "batch 28 28"]) -> Float32[np.ndarray, "batch 10"]:
    """What JAX computes from the contents of such a file."""
    return np.asarray(export.deserialize(bytearray(file)).call(images))
