"""A network as a short list of array operations that any language can carry out.

It is traced from the network itself, so an architecture needs no description of its own. The browser page
(`jaxmnist.interop.browser`) and ONNX (`jaxmnist.interop.onnx`) are made of it. Feature maps are
`[channels, height, width, batch]`, as in `jaxmnist.ops`.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jax.export import is_symbolic_dim, symbolic_shape
from jaxtyping import Float32, UInt8

from jaxmnist.config import Recipe
from jaxmnist.errors import UsageError
from jaxmnist.interop.jaxpr import predictor, replay
from jaxmnist.models import IMAGE_SHAPE
from jaxmnist.models.structure import apply_labelled

BATCH = -1
"""In a shape: the number of images."""

INPUT = 0
"""Number of the value that is the images."""


_SEEN = "seen"  # a name among those of the layers, which are their positions


class Step(NamedTuple):
    """One operation. Elementwise ones stretch sides of length 1, as NumPy does."""

    op: str
    """`conv`, `dot`, `add`, `sub`, `mul`, `div`, `max`, `min`, `abs`, `exp`, `log`, `erf`, `logistic`, `rsqrt`,
    `reduce_sum`, `reduce_max`, `slice`, `pad`, `concatenate`, `reshape`, `transpose` or `float`, which makes floats of
    bytes."""
    inputs: tuple[int, ...]
    """Numbers of the values it takes."""
    output: int
    """Number of the value it gives."""
    shape: tuple[int, ...]
    """Of what it gives."""
    attributes: Mapping[str, Any]
    """Plain numbers and lists: `padding` and `dilation` of `conv`; `axes`; `axis`; `starts`, `limits` (None
    where that is the end) and `strides`; `before` and `after`, how many `pad` adds; `permutation`."""


class Program(NamedTuple):
    """From images, bytes `[batch, 28, 28]`, to probabilities, float32 `[batch, 10]`."""

    steps: tuple[Step, ...]
    constants: Mapping[int, np.ndarray]
    """Float32 arrays by the number of their value."""
    seen: int
    """Number of the value that the network is given: images as they are normalised."""
    layers: tuple[int, ...]
    """Numbers of the values that the layers of `jaxmnist.models.structure.layers` give, in that order."""
    output: int
    """Number of the value that is the probabilities."""


class _Value(NamedTuple):
    number: int
    shape: tuple[int, ...]


def trace(model: Any, variables: Any, recipe: Recipe) -> Program:
    """The program of a network with its weights; the recipe says how images are normalised.

    What depends on the weights alone is computed here and becomes a constant.

    Raises:
        UsageError: the network has an operation that a program does not have.
    """
    steps: list[Step] = []
    constants: dict[int, np.ndarray] = {}
    layers: dict[str, int] = {}
    numbers = iter(range(INPUT + 1, 1_000_000))

    def number_of(value: Any) -> int:
        if isinstance(value, _Value):
            return value.number
        number = next(numbers)
        constants[number] = np.asarray(value, np.float32)
        return number

    def evaluate(equation: Any, inputs: list[Any]) -> list[Any]:
        if equation.primitive.name == "name":
            layers[equation.params["name"]] = number_of(inputs[0])
            return inputs
        if not any(isinstance(value, _Value) for value in inputs):
            return [equation.primitive.bind(*map(jnp.asarray, inputs), **equation.params)]
        shape = _shape(equation.outvars[0].aval.shape)
        op, attributes = _operation(equation, [_shape_of(value) for value in inputs])
        output = next(numbers)
        steps.append(Step(op, tuple(map(number_of, inputs)), output, shape, attributes))
        return [_Value(output, shape)]

    variables = jax.device_get(variables)
    function = predictor(
        lambda images: apply_labelled(model, variables, checkpoint_name(images, _SEEN)), recipe
    )
    images = jax.ShapeDtypeStruct((*symbolic_shape("batch"), *IMAGE_SHAPE[:2]), jnp.uint8)
    (result,) = replay(jax.make_jaxpr(function)(images), [_Value(INPUT, _shape(images.shape))], evaluate)
    seen = layers.pop(_SEEN)
    return Program(tuple(steps), constants, seen, tuple(layers.values()), result.number)


def run(
    program: Program, images: UInt8[np.ndarray, "batch 28 28"] | Float32[np.ndarray, "batch 28 28"]
) -> Float32[np.ndarray, "batch 10"]:
    """Carries a program out in NumPy: slow, and the definition of what each operation means."""
    values: dict[int, Any] = {INPUT: images, **program.constants}
    for step in program.steps:
        inputs = (values[number] for number in step.inputs)
        values[step.output] = _MEANINGS[step.op](*inputs, step)
    return values[program.output]


_ELEMENTWISE = ("add", "sub", "mul", "div", "max", "min", "abs", "exp", "log", "erf", "logistic", "rsqrt")


def _operation(equation: Any, shapes: list[tuple[int, ...]]) -> tuple[str, dict[str, Any]]:
    """Name and attributes in a program of a primitive of JAX."""
    name, params = equation.primitive.name, equation.params
    if name in _ELEMENTWISE:
        return name, {}
    if name in ("squeeze", "reshape"):
        return "reshape", {}
    if name == "broadcast_in_dim" and np.prod(shapes[0]) == np.prod(_shape(params["shape"])):
        return "reshape", {}  # it only adds sides of length 1
    if name == "convert_element_type" and params["new_dtype"] == jnp.float32:
        return "float", {}
    if name == "transpose":
        return name, {"permutation": list(params["permutation"])}
    if name in ("reduce_sum", "reduce_max"):
        return name, {"axes": list(params["axes"])}
    if name == "concatenate":
        return name, {"axis": params["dimension"]}
    if name == "slice":
        limits = [None if limit == BATCH else limit for limit in _shape(params["limit_indices"])]
        strides = params["strides"] or (1,) * len(limits)
        return name, {"starts": list(params["start_indices"]), "limits": limits, "strides": list(strides)}
    if name == "pad" and all(inside == 0 for _, _, inside in params["padding_config"]):
        before, after, _ = zip(*params["padding_config"], strict=True)
        return name, {"before": list(map(int, before)), "after": list(map(int, after))}
    if name == "dot_general" and params["dimension_numbers"] == (((1,), (0,)), ((), ())):
        return "dot", {}
    if name == "conv_general_dilated" and _is_plain_convolution(params):
        (padding, _), _ = params["padding"]
        return "conv", {"padding": int(padding), "dilation": int(params["rhs_dilation"][0])}
    raise UsageError(
        f"the network computes {name} in a way that the formats html and onnx do not have; "
        "export it as stablehlo."
    )


def _is_plain_convolution(params: Mapping[str, Any]) -> bool:
    numbers, dilation = params["dimension_numbers"], params["rhs_dilation"]
    return (
        (numbers.lhs_spec, numbers.rhs_spec, numbers.out_spec) == ((3, 0, 1, 2), (3, 2, 0, 1), (3, 0, 1, 2))
        and len({padding for side in params["padding"] for padding in side}) == 1
        and dilation[0] == dilation[1]
        and {*params["window_strides"], *params["lhs_dilation"]} == {1}
        and params["feature_group_count"] == params["batch_group_count"] == 1
    )


def _shape(sides: Any) -> tuple[int, ...]:
    return tuple(BATCH if is_symbolic_dim(side) else int(side) for side in sides)


def _shape_of(value: Any) -> tuple[int, ...]:
    return value.shape if isinstance(value, _Value) else np.shape(value)


def _conv(x: np.ndarray, kernel: np.ndarray, step: Step) -> np.ndarray:
    padding, dilation = step.attributes["padding"], step.attributes["dilation"]
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    rows, columns = step.shape[1:3]
    y = np.zeros((kernel.shape[3], rows, columns, x.shape[3]), np.float32)
    for i, j in np.ndindex(kernel.shape[:2]):
        top, left = i * dilation, j * dilation
        y += np.tensordot(kernel[i, j], padded[:, top : top + rows, left : left + columns], ([0], [0]))
    return y


def _slice(x: np.ndarray, step: Step) -> np.ndarray:
    sides = zip(*(step.attributes[name] for name in ("starts", "limits", "strides")), strict=True)
    return x[tuple(slice(*side) for side in sides)]


def _pad(x: np.ndarray, value: np.ndarray, step: Step) -> np.ndarray:
    sides = zip(step.attributes["before"], step.attributes["after"], strict=True)
    return np.pad(x, list(sides), constant_values=value)


def _erf(x: np.ndarray, _: Step) -> np.ndarray:
    from scipy.special import erf

    return erf(x)


_MEANINGS: dict[str, Callable[..., np.ndarray]] = {
    "conv": _conv,
    "dot": lambda x, y, _: x @ y,
    "add": lambda x, y, _: x + y,
    "sub": lambda x, y, _: x - y,
    "mul": lambda x, y, _: x * y,
    "div": lambda x, y, _: x / y,
    "max": lambda x, y, _: np.maximum(x, y),
    "min": lambda x, y, _: np.minimum(x, y),
    "abs": lambda x, _: np.abs(x),
    "exp": lambda x, _: np.exp(x),
    "log": lambda x, _: np.log(x),
    "erf": _erf,
    "logistic": lambda x, _: 1 / (1 + np.exp(-x)),
    "rsqrt": lambda x, _: 1 / np.sqrt(x),
    "reduce_sum": lambda x, step: x.sum(tuple(step.attributes["axes"])),
    "reduce_max": lambda x, step: x.max(tuple(step.attributes["axes"])),
    "slice": _slice,
    "pad": _pad,
    "concatenate": lambda *arguments: np.concatenate(arguments[:-1], arguments[-1].attributes["axis"]),
    "reshape": lambda x, step: x.reshape(step.shape),
    "transpose": lambda x, step: x.transpose(step.attributes["permutation"]),
    "float": lambda x, _: x.astype(np.float32),
}
