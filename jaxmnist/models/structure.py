"""The layers of a network in the order of execution, with shapes, sizes and costs."""

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, PyTree

from jaxmnist.models import IMAGE_SHAPE, Model
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
    """Side of the square of input pixels that one value depends on; None off the main path (`skip1`), after a global
    average or in a linear layer, where a value depends on every pixel anyway, and in networks of the user's own."""
    jump: int | None
    """Input pixels between neighbouring values; None where there is one value only, or not known."""


class Totals(NamedTuple):
    """Sizes and costs of a whole network. Bytes are for float32 and one image."""

    parameters: int
    statistics: int
    multiply_adds: int
    receptive_field: int | None
    """Of a value in the last map before a global average; None if not known."""
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


def layers(model: Model) -> list[Layer]:
    """Lists the layers of a network; it is traced abstractly, so nothing is computed and no device starts.

    Modules that only call others are not listed, nor is what is no module: resizing, sums, attention, log-softmax.
    """
    calls: list[tuple[nn.Module, int, tuple[int, int, int]]] = []

    def record(module: nn.Module, x: Array, result: Array) -> Array:
        calls.append((module, _map_shape(module, x)[1], _map_shape(module, result)))
        return result

    with _each_layer(record):
        images = jax.ShapeDtypeStruct((1, *IMAGE_SHAPE), jnp.float32)
        variables: Any = jax.eval_shape(model.init, jax.eval_shape(lambda: jax.random.key(0)), images)
    names = _names([module for module, _, _ in calls], variables["params"])
    # The layers of a user's own network say nothing of strides between them, in pooling functions for instance.
    field, jump = (1, 1) if all(_is_ours(module) for module, _, _ in calls) else (None, None)
    found: list[Layer] = []
    for name, (module, size, shape) in zip(names, calls, strict=True):
        params = _own_leaves(variables.get("params", {}), module)
        on_main_path = not name.startswith("skip")
        if on_main_path:
            field, jump = _receptive_field(module, size, field, jump)
        found.append(
            Layer(
                name=name,
                kind=type(module).__name__,
                output_shape=shape,
                parameters=_elements(params),
                statistics=_elements(_own_leaves(variables.get("batch_stats", {}), module)),
                multiply_adds=params["kernel"].size * shape[1] * shape[2] if "kernel" in params else 0,
                receptive_field=field if on_main_path else None,
                jump=jump if on_main_path else None,
            )
        )
    return found


def apply_labelled(model: Model, variables: PyTree, images: Array) -> Array:
    """Applies a network; when traced, the result of each of its `layers` carries its position as a name."""
    position = itertools.count()

    def label(module: nn.Module, x: Array, result: Array) -> Array:
        return checkpoint_name(result, str(next(position)))

    with _each_layer(label):
        return model.apply(variables, images)


def _each_layer(visit: Callable[[nn.Module, Array, Array], Array]) -> AbstractContextManager[Any]:
    """Context in which the result of every layer is what `visit(module, input, result)` returns."""
    inner = [0]  # calls of other modules, for each call in progress

    def intercept(
        next_function: Callable[..., Array], args: tuple, kwargs: dict, context: nn.module.InterceptorContext
    ) -> Array:
        if context.method_name != "__call__":
            return next_function(*args, **kwargs)
        inner[-1] += 1
        inner.append(0)
        result = next_function(*args, **kwargs)
        is_layer = not inner.pop() or _own_leaves(context.module.variables.get("params", {}), None)
        return visit(context.module, args[0], result) if is_layer else result

    return nn.intercept_methods(intercept)


def totals(layers: Sequence[Layer]) -> Totals:
    """Sums the sizes and costs of all layers."""

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
        receptive_field=maps[-1] if maps else None,
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


def _names(modules: Sequence[nn.Module], params: PyTree) -> list[str]:
    """Names from the parameter tree; other layers are called what they do, and numbered if there are several."""
    plain = ["/".join(module.path) if _own_leaves(params, module) else _does(module) for module in modules]
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


def _is_ours(module: nn.Module) -> bool:
    return type(module).__module__.startswith("jaxmnist.models.")


def _map_shape(module: nn.Module, x: Array) -> tuple[int, int, int]:
    """Channels, height and width of a map: `[channels, height, width, batch]` in this package, in Flax batch first."""
    if x.ndim != 4:
        return x.shape[-1], 1, 1
    channels, height, width = x.shape[:3] if _is_ours(module) else (x.shape[3], *x.shape[1:3])
    return channels, height, width


def _own_leaves(collection: PyTree, module: nn.Module | None) -> dict[str, Any]:
    """The arrays of a module itself, without those of modules within it; of the outermost one without `module`."""
    for name in module.path if module is not None else ():
        collection = collection.get(name, {})
    return {name: leaf for name, leaf in collection.items() if not isinstance(leaf, Mapping)}


def _elements(leaves: dict[str, Any]) -> int:
    return sum(leaf.size for leaf in leaves.values())
