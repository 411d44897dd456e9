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
from jaxmnist.interop.program import BATCH, ELEMENTWISE, INPUT, Program, Step
from jaxmnist.interop.stablehlo import predictor
from jaxmnist.models import IMAGE_SHAPE, Model
from jaxmnist.models.structure import apply_labelled

_SEEN = "seen"  # a name among those of the layers, which are their positions
_IDENTITIES = ("optimization_barrier", "stop_gradient", "copy")


def trace(model: Model, variables: PyTree, recipe: Recipe) -> Program:
    """Traces a network with its weights; the parts that depend on the weights alone become constants.

    Args:
        model: the network.
        variables: its weights.
        recipe: the recipe, for its normalisation.

    Raises:
        UsageError: the network has an operation that a program does not have.
    """
    variables, tracer = jax.device_get(variables), _Tracer()
    function = predictor(
        lambda images: apply_labelled(model, variables, checkpoint_name(images, _SEEN)), recipe
    )
    images = jax.ShapeDtypeStruct((*symbolic_shape("batch"), *IMAGE_SHAPE[:2]), jnp.uint8)
    (result,) = tracer.replay(jax.make_jaxpr(function)(images), [_Value(INPUT, _shape(images.shape))])
    layers = (tracer.named[str(position)] for position in range(len(tracer.named) - 1))
    steps, constants = tuple(tracer.steps), tracer.constants
    return Program(steps, constants, tracer.named[_SEEN], tuple(layers), result.number)


class _Value(NamedTuple):
    """A value that depends on the images."""

    number: int
    shape: tuple[int, ...]

    @property
    def ndim(self) -> int:
        return len(self.shape)


class _Tracer:
    """A program in the making. Values are `_Value` or constant arrays."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.constants: dict[int, np.ndarray] = {}
        self.named: dict[str, int] = {}
        self._numbers = itertools.count(INPUT + 1)

    def replay(self, closed: jex.ClosedJaxpr, arguments: Sequence[Any]) -> list[Any]:
        """Adds the steps of a traced function, those of the functions it calls included; returns its results."""
        jaxpr = closed.jaxpr
        values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*closed.consts, *arguments), strict=True))

        def read(atoms: Sequence[Any]) -> list[Any]:
            return [atom.val if isinstance(atom, jex.Literal) else values[atom] for atom in atoms]

        for equation in jaxpr.eqns:
            results = self._evaluate(equation, read(equation.invars))
            values.update(zip(equation.outvars, results, strict=True))
        return read(jaxpr.outvars)

    def _evaluate(self, equation: jex.JaxprEqn, inputs: list[Any]) -> list[Any]:
        name, params = equation.primitive.name, equation.params
        if name == "name":
            self._name(params["name"], inputs[0])
        if name in ("name", *_IDENTITIES):
            return inputs
        if name == "platform_index":
            return [None]
        if name == "cond" and params.get("branches_platforms"):
            return self.replay(params["branches"][params["branches_platforms"].index(None)], inputs[1:])
        called = params.get("jaxpr", params.get("call_jaxpr"))
        if isinstance(called, jex.ClosedJaxpr) and name != "scan":
            return self.replay(called, inputs)
        if not any(isinstance(value, _Value) for value in inputs):
            if "shape" in params:  # one image stands for all of them
                params = params | {"shape": tuple(abs(side) for side in _shape(params["shape"]))}
            results = equation.primitive.bind(*map(jnp.asarray, inputs), **params)
            return results if equation.primitive.multiple_results else [results]
        shape = _shape(equation.outvars[0].aval.shape)
        return [self._operation(name, params, inputs, shape)]

    def _name(self, name: str, value: Any) -> None:
        """Records the value of a layer, as `[channels, height, width, batch]`."""
        if name != _SEEN and not name.isdigit():
            return  # a name of the user's own
        if name != _SEEN and value.ndim == 4 and value.shape[0] == BATCH:
            value = self._transpose(value, (3, 1, 2, 0))
        self.named[name] = self._number(value)

    def _number(self, value: Any) -> int:
        if isinstance(value, _Value):
            return value.number
        number = next(self._numbers)
        self.constants[number] = np.asarray(value, np.float32)
        return number

    def _add(self, op: str, inputs: Sequence[Any], shape: Sequence[int], **attributes: Any) -> _Value:
        numbers, value = tuple(map(self._number, inputs)), _Value(next(self._numbers), tuple(shape))
        self.steps.append(Step(op, numbers, value.number, value.shape, attributes))
        return value

    def _operation(
        self, name: str, params: Mapping[str, Any], inputs: list[Any], shape: tuple[int, ...]
    ) -> _Value:
        """Adds the steps of a primitive of JAX; returns its result."""
        match name:
            case _ if name in ELEMENTWISE:
                return self._add(name, inputs, shape)
            case "neg":
                return self._add("mul", [*inputs, -1.0], shape)
            case "square":
                return self._add("mul", inputs * 2, shape)
            case "integer_pow" if params["y"] > 0:
                result = inputs[0]
                for _ in range(params["y"] - 1):
                    result = self._add("mul", [result, *inputs], shape)
                return result
            case "tanh":  # 2 / (1 + exp(-2 x)) - 1
                half = self._add("logistic", [self._add("mul", [*inputs, 2.0], shape)], shape)
                return self._add("sub", [self._add("mul", [half, 2.0], shape), 1.0], shape)
            case "squeeze" | "reshape":
                return self._add("reshape", inputs, shape)
            case "broadcast_in_dim":
                sides = [1] * len(shape)
                for axis, side in zip(params["broadcast_dimensions"], inputs[0].shape, strict=True):
                    sides[axis] = side
                result = self._add("reshape", inputs, sides)
                zeros = np.zeros(np.abs(shape), np.float32)
                return result if sides == list(shape) else self._add("add", [result, zeros], shape)
            case "convert_element_type" if params["new_dtype"] == jnp.float32:
                return self._add("float", inputs, shape)
            case "transpose":
                return self._transpose(inputs[0], params["permutation"])
            case "reduce_sum" | "reduce_max":
                return self._add(name, inputs, shape, axes=list(params["axes"]))
            case "concatenate":
                return self._add(name, inputs, shape, axis=params["dimension"])
            case "slice":
                return self._slice(
                    inputs[0], params["start_indices"], params["limit_indices"], params["strides"]
                )
            case "pad" if all(inside == 0 <= min(sides) for *sides, inside in params["padding_config"]):
                sides = [(int(before), int(after)) for before, after, _ in params["padding_config"]]
                return self._pad(inputs[0], sides, inputs[1])
            case "dot_general" if _is_product_with_matrix(params, *inputs):
                return self._add("dot", inputs, shape)
            case "conv_general_dilated" if _is_known_convolution(params):
                return self._convolution(params, *inputs)
            case "reduce_window_max" | "reduce_window_sum" if set(params["base_dilation"]) == {1}:
                return self._reduce_window(name, params, inputs[0], shape)
        _refuse(name)

    def _transpose(self, x: Any, permutation: Sequence[int]) -> Any:
        if not isinstance(x, _Value):
            return np.transpose(x, permutation)
        if list(permutation) == sorted(permutation):
            return x
        shape = [x.shape[axis] for axis in permutation]
        return self._add("transpose", [x], shape, permutation=[int(axis) for axis in permutation])

    def _pad(self, x: _Value, sides: Sequence[tuple[int, int]], value: Any) -> _Value:
        if not any(itertools.chain(*sides)):
            return x
        before, after = ([int(side[end]) for side in sides] for end in (0, 1))
        shape = [
            side if side == BATCH else side + sum(ends) for side, ends in zip(x.shape, sides, strict=True)
        ]
        return self._add("pad", [x, value], shape, before=before, after=after)

    def _slice(
        self, x: _Value, starts: Sequence[int], limits: Sequence[Any], strides: Sequence[int] | None
    ) -> _Value:
        ends = [None if limit == BATCH else limit for limit in _shape(limits)]
        strides = list(strides or [1] * len(ends))
        shape = [
            BATCH if end is None else -(-(end - start) // stride)
            for start, end, stride in zip(starts, ends, strides, strict=True)
        ]
        return self._add("slice", [x], shape, starts=list(starts), limits=ends, strides=strides)

    def _convolution(self, params: Mapping[str, Any], x: _Value, kernel: Any) -> _Value:
        """Adds a convolution: of maps `[channels, height, width, batch]`, with stride 1, the kernel HWIO."""
        numbers, dilation = params["dimension_numbers"], int(params["rhs_dilation"][0])
        (n, c, h, w), (o, i, y, z) = numbers.lhs_spec, numbers.rhs_spec
        x, kernel = self._transpose(x, (c, h, w, n)), self._transpose(kernel, (y, z, i, o))
        padding = 0
        if len(set(itertools.chain(*params["padding"]))) == 1:
            padding = int(params["padding"][0][0])
        else:
            x = self._pad(x, [(0, 0), *params["padding"], (0, 0)], 0.0)
        rows, columns = (
            x.shape[1 + axis] + 2 * padding - dilation * (kernel.shape[axis] - 1) for axis in (0, 1)
        )
        shape = (kernel.shape[3], rows, columns, BATCH)
        result = self._add("conv", [x, kernel], shape, padding=padding, dilation=dilation)
        if set(params["window_strides"]) != {1}:
            result = self._slice(result, [0] * 4, shape, [1, *params["window_strides"], 1])
        n, c, h, w = numbers.out_spec
        return self._transpose(result, np.argsort((c, h, w, n)).tolist())

    def _reduce_window(
        self, name: str, params: Mapping[str, Any], x: _Value, shape: tuple[int, ...]
    ) -> _Value:
        """Adds a pooling: the largest or the sum of one strided slice for each position in the window."""
        op, empty = ("max", -np.inf) if name == "reduce_window_max" else ("add", 0.0)
        x = self._pad(x, params["padding"], empty)
        strides, parts = params["window_strides"], []
        for offset in np.ndindex(*params["window_dimensions"]):
            starts = [place * step for place, step in zip(offset, params["window_dilation"], strict=True)]
            limits = [
                BATCH if side == BATCH else start + (side - 1) * stride + 1
                for start, side, stride in zip(starts, shape, strides, strict=True)
            ]
            parts.append(self._slice(x, starts, limits, strides))
        return functools.reduce(lambda one, other: self._add(op, [one, other], shape), parts)


def _is_product_with_matrix(params: Mapping[str, Any], x: Any, y: Any) -> bool:
    return params["dimension_numbers"] == (((x.ndim - 1,), (0,)), ((), ())) and y.ndim == 2


def _is_known_convolution(params: Mapping[str, Any]) -> bool:
    return (
        len(params["window_strides"]) == 2
        and len(set(params["rhs_dilation"])) == 1
        and set(params["lhs_dilation"]) == {1}
        and min(itertools.chain(*params["padding"])) >= 0
        and params["feature_group_count"] == params["batch_group_count"] == 1
    )


def _shape(sides: Sequence[Any]) -> tuple[int, ...]:
    if any(is_symbolic_dim(side) and str(side) != "batch" for side in sides):
        _refuse("reshape across images")
    return tuple(BATCH if is_symbolic_dim(side) else int(side) for side in sides)


def _refuse(name: str) -> NoReturn:
    raise UsageError(
        f"the network computes {name} in a way that the formats html and onnx do not have; export it with "
        "--format stablehlo npz."
    )
