"""What a network is made of: its layers in the order of execution, with shapes and parameters."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxmnist.models import IMAGE_SHAPE


class Layer(NamedTuple):
    """One layer as it ran."""

    name: str
    """Its name in the parameter tree."""
    kind: str
    """Its class: `Conv`, `BatchNorm`, ..."""
    output_shape: tuple[int, int, int]
    """Channels, height and width of what it gives."""
    parameters: int
    """Trainable parameters."""
    statistics: int
    """Running statistics, which are not trained."""


def layers(model: Any) -> list[Layer]:
    """The layers with parameters of a network; traced abstractly, so nothing is computed."""
    outputs: list[tuple[str, str, tuple[int, int, int]]] = []

    def record(next_function, args, kwargs, context):
        result = next_function(*args, **kwargs)
        if context.method_name == "__call__" and context.module.name is not None:
            shape = result.shape[:-1] if result.ndim == 4 else (result.shape[-1], 1, 1)
            outputs.append((context.module.name, type(context.module).__name__, shape))
        return result

    with nn.intercept_methods(record):
        images = jax.ShapeDtypeStruct((1, *IMAGE_SHAPE), jnp.float32)
        variables = jax.eval_shape(model.init, jax.random.key(0), images)

    def size(collection: str, name: str) -> int:
        leaves = jax.tree.leaves(variables.get(collection, {}).get(name, {}))
        return sum(int(np.prod(leaf.shape)) for leaf in leaves)

    found = [
        Layer(name, kind, shape, size("params", name), size("batch_stats", name))
        for name, kind, shape in outputs
    ]
    return [layer for layer in found if layer.parameters]
