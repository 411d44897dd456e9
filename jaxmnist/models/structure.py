"""What a network is made of: its layers in the order of execution, with shapes, sizes and costs."""

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name

from jaxmnist.models import IMAGE_SHAPE
from jaxmnist.models.layers import Activation, Conv, Dense, GlobalAverage, MaxPool

_BYTES = 4  # of a float32


class Layer(NamedTuple):
    """One layer as it ran."""

    name: str
    """Its name in the parameter tree; `relu2`, `pool1`, ... for layers without parameters."""
    kind: str
    """Its class: `Conv`, `BatchNorm`, ..."""
    output_shape: tuple[int, int, int]
    """Channels, height and width of what it gives."""
    parameters: int
    """Trainable parameters."""
    statistics: int
    """Running statistics, which are not trained."""
    multiply_adds: int
    """Products with the elements of its kernel for one image; biases and normalisation are not counted."""
    receptive_field: int | None
    """Side of the square of input pixels that one value depends on; None off the main path (`skip1`) and
    after a global average or in a linear layer, where a value depends on every pixel anyhow."""
    jump: int | None
    """Input pixels between neighbouring values; None where there is one value only."""


class Totals(NamedTuple):
    """What a whole network holds and costs. Bytes are for float32 and one image."""

    parameters: int
    statistics: int
    multiply_adds: int
    receptive_field: int
    """Of a value in the last map before a global average."""
    receptive_field_of_average: int | None
    """Of the global average; None for a network that has none."""
    input_bytes: int
    activation_bytes: int
    """Outputs of every layer, twice: once forward, once as gradients."""
    weight_layer_activation_bytes: int
    """The same for layers with parameters alone, as some summaries count."""
    parameter_bytes: int
    total_bytes: int
    """Input, activations of every layer, and parameters."""


def layers(model: nn.Module) -> list[Layer]:
    """The layers of a network; traced abstractly, so nothing is computed and no device starts.

    What is no module of its own is not listed: resizing, sums, attention, log-softmax.
    """
    calls: list[tuple[Any, int, tuple[int, int, int]]] = []

    def record(next_function, args, kwargs, context):
        result = next_function(*args, **kwargs)
        if context.method_name == "__call__" and context.module.name is not None:
            calls.append((context.module, _map_shape(args[0])[1], _map_shape(result)))
        return result

    with nn.intercept_methods(record):
        images = jax.ShapeDtypeStruct((1, *IMAGE_SHAPE), jnp.float32)
        variables: Any = jax.eval_shape(model.init, jax.eval_shape(lambda: jax.random.key(0)), images)

    def leaves(collection: str, name: str) -> dict[str, Any]:
        return variables.get(collection, {}).get(name, {})

    names = _names([module for module, _, _ in calls], variables["params"])
    field: int | None = 1
    jump: int | None = 1
    found: list[Layer] = []
    for name, (module, size, shape) in zip(names, calls, strict=True):
        params = leaves("params", name)
        on_main_path = not name.startswith("skip")
        if on_main_path:
            field, jump = _receptive_field(module, size, field, jump)
        found.append(
            Layer(
                name=name,
                kind=type(module).__name__,
                output_shape=shape,
                parameters=_elements(params),
                statistics=_elements(leaves("batch_stats", name)),
                multiply_adds=params["kernel"].size * shape[1] * shape[2] if "kernel" in params else 0,
                receptive_field=field if on_main_path else None,
                jump=jump if on_main_path else None,
            )
        )
    return found


def apply_labelled(model: nn.Module, variables: Any, images: Any) -> Any:
    """Applies a network; when traced, the result of each of its `layers` carries its position as a name."""
    position = itertools.count()

    def label(next_function, args, kwargs, context):
        result = next_function(*args, **kwargs)
        if context.method_name == "__call__" and context.module.name is not None:
            return checkpoint_name(result, str(next(position)))
        return result

    with nn.intercept_methods(label):
        return model.apply(variables, images)


def totals(layers: Sequence[Layer]) -> Totals:
    """Sums over all layers of a network."""

    def activation_bytes(layers: Sequence[Layer]) -> int:
        return 2 * _BYTES * sum(int(np.prod(layer.output_shape)) for layer in layers)

    parameters = sum(layer.parameters for layer in layers)
    maps = [layer.receptive_field for layer in layers if layer.receptive_field and layer.jump]
    averages = [layer.receptive_field for layer in layers if layer.receptive_field and not layer.jump]
    input_bytes, activations = _BYTES * int(np.prod(IMAGE_SHAPE)), activation_bytes(layers)
    return Totals(
        parameters=parameters,
        statistics=sum(layer.statistics for layer in layers),
        multiply_adds=sum(layer.multiply_adds for layer in layers),
        receptive_field=maps[-1],
        receptive_field_of_average=averages[0] if averages else None,
        input_bytes=input_bytes,
        activation_bytes=activations,
        weight_layer_activation_bytes=activation_bytes([layer for layer in layers if layer.parameters]),
        parameter_bytes=_BYTES * parameters,
        total_bytes=input_bytes + activations + _BYTES * parameters,
    )


def _receptive_field(
    module: nn.Module, size: int, field: int | None, jump: int | None
) -> tuple[int | None, int | None]:
    """Receptive field and jump after a layer on a map of that size, from those before it.

    Every layer adds dilation * (kernel size - 1) * jump; then its stride multiplies the jump.
    """
    if field is None or jump is None or isinstance(module, Dense):
        return None, None
    if isinstance(module, Conv):
        return field + module.dilation * (module.kernel_size - 1) * jump, jump
    if isinstance(module, MaxPool):
        return field + jump, 2 * jump
    if isinstance(module, GlobalAverage):
        return field + (size - 1) * jump, None
    return field, jump


def _names(modules: Sequence[nn.Module], params: Any) -> list[str]:
    """Names from the parameter tree; other layers are called what they do, and numbered if there are several."""
    plain = [str(module.name) if module.name in params else _does(module) for module in modules]
    several, seen = Counter(plain), Counter[str]()
    names = []
    for name in plain:
        seen[name] += 1
        names.append(f"{name}{seen[name]}" if several[name] > 1 else name)
    return names


def _does(module: nn.Module) -> str:
    if isinstance(module, Activation):
        return getattr(module.function, "__name__", "activation")
    return {GlobalAverage: "average", MaxPool: "pool"}.get(type(module), type(module).__name__.lower())


def _map_shape(x: Any) -> tuple[int, int, int]:
    """Channels, height and width of `[channels, height, width, batch]` or `[batch, channels]`."""
    return x.shape[:3] if x.ndim == 4 else (x.shape[1], 1, 1)


def _elements(leaves: dict[str, Any]) -> int:
    return sum(leaf.size for leaf in leaves.values())
