"""Tracing of a network into a `jaxmnist.interop.program.Program`.

JAX traces the network itself, so an architecture needs no description of its own. `jaxmnist.ops` chooses
implementations by platform, defines gradients and holds the compiler back in places; a program has none of that, but
the general implementation.
"""

import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jax.export import is_symbolic_dim, symbolic_shape
from jaxtyping import PyTree

from jaxmnist.config import Recipe
from jaxmnist.errors import UsageError
from jaxmnist.interop.program import END, INPUT, OPERATIONS, Program, Step
from jaxmnist.interop.stablehlo import predictor
from jaxmnist.models import IMAGE_SHAPE, Model
from jaxmnist.models.structure import apply_labelled

_SEEN = "seen"  # a name among those of the layers, which are their positions
_FLOAT = 1  # ONNX's number of float32

_IDENTITIES = ("optimization_barrier", "stop_gradient", "copy", "name")
_ELEMENTWISE = {
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "div": "Div",
    "max": "Max",
    "min": "Min",
    "abs": "Abs",
    "neg": "Neg",
    "exp": "Exp",
    "log": "Log",
    "sqrt": "Sqrt",
    "tanh": "Tanh",
    "erf": "Erf",
    "logistic": "Sigmoid",
}
_REDUCTIONS = {"reduce_sum": "ReduceSum", "reduce_max": "ReduceMax"}
_POOLINGS = {"reduce_window_sum": ("Add", 0.0), "reduce_window_max": ("Max", -np.inf)}


def trace(model: Model, variables: PyTree, recipe: Recipe) -> Program:
    """Traces a network with its weights; the parts that depend on the weights alone become constants.

    Args:
        model: the network.
        variables: its weights.
        recipe: the recipe, for its normalisation and its tilt.

    Raises:
        UsageError: the network has an operation that a program does not have.
    """
    variables, tracer = jax.device_get(variables), _Tracer()
    function = predictor(
        lambda images: apply_labelled(model, variables, checkpoint_name(images, _SEEN)), recipe
    )
    images = jax.ShapeDtypeStruct((*symbolic_shape("batch"), *IMAGE_SHAPE[:2]), jnp.uint8)
    blank = _Value(INPUT, np.zeros((1, *IMAGE_SHAPE[:2]), np.uint8))
    (result,) = tracer.replay(jax.make_jaxpr(function)(images), [blank])
    layers = (tracer.named[str(position)] for position in range(len(tracer.named) - 1))
    steps, constants = tuple(tracer.steps), tracer.constants
    return Program(steps, constants, tracer.named[_SEEN], tuple(layers), tracer.number(result))


class _Value(NamedTuple):
    """A value that depends on the images."""

    number: int
    example: np.ndarray
    """The value for one blank image, which gives the shape."""

    @property
    def shape(self) -> tuple[int, ...]:
        return self.example.shape


_Operand = _Value | np.ndarray


class _Tracer:
    """A program in the making."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.constants: dict[int, np.ndarray] = {}
        self.named: dict[str, int] = {}
        self._numbers = itertools.count(INPUT + 1)

    def replay(self, closed: jex.ClosedJaxpr, arguments: Sequence[_Operand]) -> list[_Operand]:
        """Adds the steps of a traced function, those of the functions it calls included; returns its results."""
        jaxpr, constants = closed.jaxpr, map(np.asarray, closed.consts)
        values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*constants, *arguments), strict=True))

        def read(atoms: Sequence[Any]) -> list[_Operand]:
            return [np.asarray(atom.val) if isinstance(atom, jex.Literal) else values[atom] for atom in atoms]

        for equation in jaxpr.eqns:
            results = self._evaluate(equation, read(equation.invars))
            values.update(zip(equation.outvars, results, strict=True))
        return read(jaxpr.outvars)

    def number(self, value: _Operand) -> int:
        """Returns the number of a value; an array becomes a constant."""
        if isinstance(value, _Value):
            return value.number
        number = next(self._numbers)
        self.constants[number] = np.asarray(value, np.float32)
        return number

    def _evaluate(self, equation: jex.JaxprEqn, inputs: list[_Operand]) -> list[_Operand]:
        name, params = equation.primitive.name, equation.params
        if name == "name" and (params["name"] == _SEEN or params["name"].isdigit()):
            self._name(params["name"], inputs[0])
        if name in _IDENTITIES:
            return inputs
        if name == "platform_index":
            return [np.array(0)]  # selects the branch below
        if name == "cond" and params.get("branches_platforms"):
            return self.replay(params["branches"][params["branches_platforms"].index(None)], inputs[1:])
        called: Any = params.get("jaxpr", params.get("call_jaxpr"))
        if hasattr(called, "consts") and name != "scan":
            return self.replay(called, inputs)
        if any(isinstance(value, _Value) for value in inputs):
            aval: Any = equation.outvars[0].aval
            return [self._operation(name, params, inputs, aval.shape)]
        if "shape" in params:  # one image stands for all of them
            params = params | {"shape": tuple(_sides(params["shape"], 1))}
        results = equation.primitive.bind(*map(jnp.asarray, inputs), **params)
        return list(map(np.asarray, results if equation.primitive.multiple_results else [results]))

    def _name(self, name: str, value: _Operand) -> None:
        """Records the value of a layer, as `[channels, height, width, batch]`; of several views, that of the first."""
        if name in self.named:
            return
        if name != _SEEN and len(value.shape) == 4 and value.shape[3] > 1:
            value = self._add("Transpose", [value], perm=[3, 1, 2, 0])  # a layer of Flax, batch first
        self.named[name] = self.number(value)

    def _add(self, op: str, inputs: Sequence[_Operand], **attributes: object) -> _Value:
        examples = (value.example if isinstance(value, _Value) else value for value in inputs)
        with np.errstate(all="ignore"):
            example = OPERATIONS[op](*examples, **attributes)
        numbers, value = tuple(map(self.number, inputs)), _Value(next(self._numbers), example)
        self.steps.append(Step(op, numbers, value.number, value.shape, attributes))
        return value

    def _operation(
        self, name: str, params: Mapping[str, Any], inputs: list[_Operand], shape: Sequence[Any]
    ) -> _Operand:
        """Adds the steps of a primitive of JAX; returns its result."""
        match name:
            case _ if name in _ELEMENTWISE:
                return self._add(_ELEMENTWISE[name], inputs)
            case "rsqrt":
                return self._add("Div", [np.array(1, np.float32), self._add("Sqrt", inputs)])
            case "square":
                return self._add("Mul", inputs * 2)
            case "integer_pow" if params["y"] > 0:
                return functools.reduce(lambda x, y: self._add("Mul", [x, y]), inputs * params["y"])
            case "squeeze" | "reshape":
                return self._add("Reshape", inputs, shape=_sides(shape, -1))
            case "broadcast_in_dim":
                sides: list[Any] = [1] * len(shape)
                for axis in params["broadcast_dimensions"]:
                    sides[axis] = shape[axis]
                result = self._add("Reshape", inputs, shape=_sides(sides, -1))
                zeros = np.zeros(_sides(shape, 1), np.float32)
                return result if result.shape == zeros.shape else self._add("Add", [result, zeros])
            case "convert_element_type" if params["new_dtype"] == jnp.float32:
                return self._add("Cast", inputs, to=_FLOAT)
            case "transpose":
                return self._add("Transpose", inputs, perm=_sides(params["permutation"], 0))
            case _ if name in _REDUCTIONS:
                return self._add(_REDUCTIONS[name], inputs, axes=list(params["axes"]), keepdims=0)
            case "concatenate":
                return self._add("Concat", inputs, axis=params["dimension"])
            case "slice":
                starts, steps = params["start_indices"], params["strides"] or [1] * len(shape)
                return self._slice(inputs[0], starts, _sides(params["limit_indices"], END), steps)
            case "pad" if all(inside == 0 <= min(sides) for *sides, inside in params["padding_config"]):
                return self._pad(inputs[0], np.array(params["padding_config"])[:, :2], inputs[1])
            case "dot_general" if _is_product_with_matrix(params, *inputs):
                return self._add("MatMul", inputs)
            case "conv_general_dilated" if _is_known_convolution(params):
                x, kernel = inputs
                if isinstance(kernel, np.ndarray):
                    return self._convolution(params, x, kernel)
            case _ if name in _POOLINGS and set(params["base_dilation"]) == {1}:
                return self._pool(*_POOLINGS[name], params, inputs[0], shape)
        _refuse(name)

    def _pad(self, x: _Operand, sides: np.ndarray, value: _Operand) -> _Operand:
        return self._add("Pad", [x, value], pads=sides.T.ravel().tolist()) if sides.any() else x

    def _slice(self, x: _Operand, starts: Sequence[int], ends: Sequence[int], steps: Sequence[int]) -> _Value:
        bounds = {"starts": list(starts), "ends": list(ends), "steps": list(steps)}
        return self._add("Slice", [x], axes=list(range(len(starts))), **bounds)

    def _convolution(self, params: Mapping[str, Any], x: _Operand, kernel: np.ndarray) -> _Operand:
        """Adds a convolution with stride 1, batch and channels first, and a slice for other strides."""
        numbers, dilations = params["dimension_numbers"], list(params["rhs_dilation"])
        x = self._add("Transpose", [x], perm=list(numbers.lhs_spec))
        pads = np.array(params["padding"]).T.ravel().tolist()
        kernel = kernel.transpose(numbers.rhs_spec)
        result = self._add("Conv", [x, kernel], pads=pads, dilations=dilations)
        if set(params["window_strides"]) != {1}:
            result = self._slice(result, [0] * 4, [END] * 4, (1, 1, *params["window_strides"]))
        return self._add("Transpose", [result], perm=np.argsort(numbers.out_spec).tolist())

    def _pool(
        self, op: str, padding: float, params: Mapping[str, Any], x: _Operand, shape: Sequence[Any]
    ) -> _Operand:
        """Adds a strided slice for each position in the window, and combines them."""
        x, strides = (
            self._pad(x, np.array(params["padding"]), np.array(padding, np.float32)),
            params["window_strides"],
        )
        parts = []
        for offset in np.ndindex(*params["window_dimensions"]):
            starts = np.multiply(offset, params["window_dilation"]).tolist()
            ends = [
                END if is_symbolic_dim(side) else start + (side - 1) * stride + 1
                for start, side, stride in zip(starts, shape, strides, strict=True)
            ]
            parts.append(self._slice(x, starts, ends, strides))
        return functools.reduce(lambda x, y: self._add(op, [x, y]), parts)


def _is_product_with_matrix(params: Mapping[str, Any], x: _Operand, y: _Operand) -> bool:
    return params["dimension_numbers"] == (((len(x.shape) - 1,), (0,)), ((), ())) and len(y.shape) == 2


def _is_known_convolution(params: Mapping[str, Any]) -> bool:
    return (
        len(params["window_strides"]) == 2
        and set(params["lhs_dilation"]) == {1}
        and min(itertools.chain(*params["padding"])) >= 0
        and params["feature_group_count"] == params["batch_group_count"] == 1
    )


def _sides(shape: Sequence[Any], batch: int) -> list[int]:
    """Returns a shape with an integer in place of the number of images."""
    if any(is_symbolic_dim(side) and str(side) != "batch" for side in shape):
        _refuse("a shape that mixes images")
    return [batch if is_symbolic_dim(side) else int(side) for side in shape]


def _refuse(name: str) -> NoReturn:
    raise UsageError(
        f"the network computes {name} in a way that the formats html and onnx do not have; export it with "
        "--format stablehlo npz."
    )
