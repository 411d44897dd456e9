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
from jaxmnist.models.layers import Activation, Add, Attention, Conv, Dense, GlobalAverage, MaxPool, Resize

_BYTES = 4  # of a float32


class Layer(NamedTuple):
    """One layer, as called."""

    name: str
    """Name in the parameter tree; `relu2`, `pool1`, ... for layers without parameters."""
    kind: str
    """Name of its class: `Conv`, `BatchNorm`, ..."""
    output_shape: tuple[int, int, int]
    """Channels, height and width of the output."""
    parameters: int
    """Trainable parameters."""
    statistics: int
    """Running statistics, which are not trained."""
    multiply_adds: int
    """Multiplications by kernel elements for one image; biases and normalisation do not count."""
    input_shape: tuple[int, int, int]
    """Channels, height and width of the input; of a sum's first one."""
    inputs: tuple[str, ...]
    """Names of the layers whose outputs it takes, as far as they are passed on unchanged."""
    kernel_size: int | str | None
    """Side of the window of a convolution or pooling; `3x5` if its sides differ; None for other layers."""
    stride: int | str | None
    padding: int | str | None
    """Zeros added on each side, or Flax's word for it, such as `SAME`."""
    dilation: int | str | None
    receptive_field: int | None
    """Side of the square of input pixels that one output value depends on. None off the main path (`skip1`), after a
    global average or in a linear layer, where a value depends on every pixel, and in networks of the user's own."""
    jump: int | None
    """Input pixels between neighbouring output values; None if there is one value only, or if unknown."""


class Totals(NamedTuple):
    """Sizes and costs of a whole network. Bytes are those of float32 values for one image."""

    parameters: int
    statistics: int
    multiply_adds: int
    receptive_field: int | None
    """Receptive field of a value in the last map before a global average; None if unknown."""
    receptive_field_of_average: int | None
    """Receptive field of the global average; None for a network without one."""
    input_bytes: int
    activation_bytes: int
    """Outputs of all layers and their gradients."""
    weight_layer_activation_bytes: int
    """Outputs of the layers with parameters and their gradients, as some summaries count."""
    parameter_bytes: int
    total_bytes: int
    """Input, activations of all layers, and parameters."""


def layers(model: Model, operations: bool = False) -> list[Layer]:
    """Lists the layers of a network by abstract evaluation, which computes nothing and starts no device.

    Modules that only call others are left out, as are operations without a module, such as log-softmax.

    Args:
        model: the network.
        operations: True to list resizes, sums and attention as well, which `totals` and published summaries do not
            count.
    """
    calls: list[tuple[nn.Module, tuple[Array, ...], Array]] = []

    def record(module: nn.Module, inputs: tuple[Array, ...], result: Array) -> Array:
        calls.append((module, inputs, result))
        return result

    with _each_layer(record, operations):
        images = jax.ShapeDtypeStruct((1, *IMAGE_SHAPE), jnp.float32)
        variables: Any = jax.eval_shape(model.init, jax.eval_shape(lambda: jax.random.key(0)), images)
    names = _names([module for module, _, _ in calls], variables["params"])
    # Layers of a user's own network do not show strides between them, as in pooling functions.
    field, jump = (1, 1) if all(_is_ours(module) for module, _, _ in calls) else (None, None)
    found: list[Layer] = []
    makers: dict[int, str] = {}  # names of layers by their outputs, which `calls` keeps alive
    for name, (module, inputs, result) in zip(names, calls, strict=True):
        input_shape, shape = _map_shape(module, inputs[0]), _map_shape(module, result)
        params, statistics = (
            _own_leaves(variables.get(kind, {}), module) for kind in ("params", "batch_stats")
        )
        on_main_path = not name.startswith("skip") and not isinstance(module, Resize)
        if on_main_path:
            field, jump = _receptive_field(module, input_shape[1], field, jump)
        found.append(
            Layer(
                name=name,
                kind=type(module).__name__,
                output_shape=shape,
                parameters=sum(leaf.size for leaf in params.values()),
                statistics=sum(leaf.size for leaf in statistics.values()),
                multiply_adds=_kernel_elements(module, params) * shape[1] * shape[2],
                input_shape=input_shape,
                inputs=tuple(makers[id(x)] for x in inputs if id(x) in makers),
                **_window(module),
                receptive_field=field if on_main_path else None,
                jump=jump if on_main_path else None,
            )
        )
        makers[id(result)] = name
    return found


def apply_labelled(model: Model, variables: PyTree, images: Array) -> Array:
    """Applies a network; in a trace, the result of each of its `layers` is named by the layer's position."""
    position = itertools.count()

    def label(module: nn.Module, inputs: tuple[Array, ...], result: Array) -> Array:
        return checkpoint_name(result, str(next(position)))

    with _each_layer(label):
        return model.apply(variables, images)


def _each_layer(
    visit: Callable[[nn.Module, tuple[Array, ...], Array], Array], operations: bool = False
) -> AbstractContextManager[Any]:
    """Context manager that replaces the result of every layer by `visit(module, inputs, result)`."""
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
        is_layer = is_layer and (operations or not isinstance(context.module, (Resize, Add, Attention)))
        # The cell of a recurrent network gives a pair, which has no shape to list.
        return visit(context.module, args, result) if is_layer and hasattr(result, "ndim") else result

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
    """Computes receptive field and jump after a layer, on a map with sides of `size`, from those before it.

    Every layer adds dilation * (kernel size - 1) * jump to the field; then its stride multiplies the jump.
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


def _kernel_elements(module: nn.Module, params: Mapping[str, Any]) -> int:
    """Returns the number of factors in the kernel that a layer computes with."""
    if "kernel" not in params:
        return 0
    shape = params["kernel"].shape
    # The parameter of a mixture of filters is smaller than its kernel.
    return module.kernel_size**2 * shape[2] * shape[3] if isinstance(module, Conv) else int(np.prod(shape))


def _window(module: nn.Module) -> dict[str, int | str | None]:
    """Returns kernel size, stride, padding and dilation of a convolution or pooling; None for other layers."""
    values: tuple[Any, ...] = (None,) * 4
    if isinstance(module, Conv):
        values = module.kernel_size, 1, module.padding, module.dilation
    elif isinstance(module, MaxPool):
        values = 2, 2, 0, 1
    elif isinstance(module, nn.Conv):
        values = module.kernel_size, module.strides or 1, module.padding, module.kernel_dilation or 1
    return dict(zip(("kernel_size", "stride", "padding", "dilation"), map(_side, values), strict=True))


def _side(value: int | str | Sequence[Any] | None) -> int | str | None:
    """Returns one number for equal ones, and a text for others."""
    if value is None or isinstance(value, int | str):
        return value
    numbers = np.unique(value)
    return int(numbers[0]) if len(numbers) == 1 else "x".join(map(str, value))


def _names(modules: Sequence[nn.Module], params: PyTree) -> list[str]:
    """Returns names from the parameter tree; layers without parameters are named by their kind, numbered if several."""
    plain = ["/".join(module.path) if _own_leaves(params, module) else _kind(module) for module in modules]
    several, seen = Counter(plain), Counter[str]()
    names = []
    for name in plain:
        seen[name] += 1
        names.append(f"{name}{seen[name]}" if several[name] > 1 else name)
    return names


def _kind(module: nn.Module) -> str:
    if isinstance(module, Activation):
        return getattr(module.function, "__name__", "activation")
    return {GlobalAverage: "average", MaxPool: "pool"}.get(type(module), type(module).__name__.lower())


def _is_ours(module: nn.Module) -> bool:
    return type(module).__module__.startswith("jaxmnist.models.")


def _map_shape(module: nn.Module, x: Array) -> tuple[int, int, int]:
    """Returns channels, height and width; the batch comes last in this package's maps and first in Flax's."""
    if x.ndim != 4:
        return x.shape[-1], 1, 1
    channels, height, width = x.shape[:3] if _is_ours(module) else (x.shape[3], *x.shape[1:3])
    return channels, height, width


def _own_leaves(collection: PyTree, module: nn.Module | None) -> dict[str, Any]:
    """Returns the arrays of a module without those of its submodules; of the outermost module if `module` is None."""
    for name in module.path if module is not None else ():
        collection = collection.get(name, {})
    return {name: leaf for name, leaf in collection.items() if not isinstance(leaf, Mapping)}
