"""StableHLO, the format that XLA compiles, as a versioned file of `jax.export`; only JAX is needed to read it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jaxtyping import Array, Float32, PyTree, UInt8

from jaxmnist.augment.views import scores
from jaxmnist.config import Recipe
from jaxmnist.models import IMAGE_SHAPE, Model

_PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def predictor(
    apply: Callable[[Array], Array], recipe: Recipe
) -> Callable[[UInt8[Array, "batch 28 28"]], Float32[Array, "batch classes"]]:
    """Returns the function from raw images, 0 for ground and 255 for ink, to probabilities.

    Args:
        apply: maps normalised images to log-probabilities or logits.
        recipe: the recipe, for its normalisation and its tilt.
    """
    return lambda images: jax.nn.softmax(scores(apply, images, recipe))


def to_stablehlo(model: Model, variables: PyTree, recipe: Recipe) -> bytes:
    """Returns a file: from uint8 `[batch, 28, 28]` to probabilities, float32, for any number of images.

    Args:
        model: the network.
        variables: its weights.
        recipe: the recipe; its normalisation and its tilt are part of the file.
    """
    variables = jax.device_get(variables)
    function = predictor(lambda images: model.apply(variables, images), recipe)
    images = jax.ShapeDtypeStruct((*export.symbolic_shape("batch"), *IMAGE_SHAPE[:2]), jnp.uint8)
    return bytes(export.export(jax.jit(function), platforms=_PLATFORMS)(images).serialize())


def run_stablehlo(
    file: bytes, images: UInt8[np.ndarray, "batch 28 28"]
) -> Float32[np.ndarray, "batch classes"]:
    """Returns the probabilities that JAX computes from the contents of such a file."""
    return np.asarray(export.deserialize(bytearray(file)).call(images))
