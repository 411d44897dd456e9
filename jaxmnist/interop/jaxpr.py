"""A network as plain array operations, which is what other programs understand.

`jaxmnist.ops` chooses an implementation by platform, writes gradients out and holds the compiler back in places.
None of that means anything outside of JAX: here the general implementation is taken and the rest left out.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
from jaxtyping import Array, Float32, UInt8

from jaxmnist.augment import normalise
from jaxmnist.config import Recipe

Evaluate = Callable[[Any, list[Any]], list[Any]]
"""What becomes of an equation that is an operation: (equation, its inputs) to its results."""

# Where the different kinds of calls keep what they compute.
_CALLED = ("jaxpr", "call_jaxpr")
_IDENTITIES = ("optimization_barrier", "stop_gradient")


def predictor(
    apply: Callable[[Any], Array], recipe: Recipe
) -> Callable[[UInt8[Array, "batch 28 28"]], Float32[Array, "batch 10"]]:
    """The function from raw images, 0 ground and 255 ink, to probabilities.

    Args:
        apply: maps normalised images to the outputs of a network, log-probabilities or logits.
        recipe: the one that says how images are normalised.
    """
    return lambda images: jax.nn.softmax(apply(normalise(images, recipe)))


def plain(function: Callable[[Any], Array]) -> Callable[[Any], Array]:
    """The same function of an array, traced to operations alone: no calls, barriers or choices by platform."""

    def traced(argument: Any) -> Any:
        closed = jax.make_jaxpr(function)(argument)
        (result,) = replay(closed, [jnp.asarray(argument)], _bind)
        return result

    return traced


def replay(closed: Any, arguments: list[Any], evaluate: Evaluate) -> list[Any]:
    """Goes through the equations of a traced function, of calls through those of what they call.

    Args:
        closed: what `jax.make_jaxpr` gives.
        arguments: values of its inputs, of any type.
        evaluate: is given every equation that is an operation.

    Returns:
        The values of its outputs.
    """
    jaxpr = closed.jaxpr
    values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*closed.consts, *arguments), strict=True))

    def read(atoms: Any) -> Iterator[Any]:
        return (atom.val if isinstance(atom, jex.Literal) else values[atom] for atom in atoms)

    for equation in jaxpr.eqns:
        results = _results(equation, list(read(equation.invars)), evaluate)
        values.update(zip(equation.outvars, results, strict=True))
    return list(read(jaxpr.outvars))


def _results(equation: Any, inputs: list[Any], evaluate: Evaluate) -> list[Any]:
    name, params = equation.primitive.name, equation.params
    if name in _IDENTITIES:
        return inputs
    if name == "platform_index":
        return [None]
    if name == "cond" and params.get("branches_platforms"):
        return replay(params["branches"][params["branches_platforms"].index(None)], inputs[1:], evaluate)
    for called in _CALLED:
        if called in params:
            return replay(params[called], inputs, evaluate)
    return evaluate(equation, inputs)


def _bind(equation: Any, inputs: list[Any]) -> list[Any]:
    results = equation.primitive.bind(*inputs, **equation.params)
    return results if equation.primitive.multiple_results else [results]
