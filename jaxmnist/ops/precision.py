"""Mixed precision: products of bfloat16 factors with sums in float32; everything else stays in float32."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, Literal

from jax import lax

Precision = Literal["float32", "bfloat16"]

_current: ContextVar[Precision] = ContextVar("precision", default="float32")


@contextlib.contextmanager
def products_in(precision: Precision) -> Iterator[None]:
    """Sets the precision of the factors in the convolutions and linear layers that are traced within."""
    token = _current.set(precision)
    try:
        yield
    finally:
        _current.reset(token)


def factors() -> Precision:
    """Returns the precision of the factors in what is being traced."""
    return _current.get()


def as_factors(precision: Precision, *arrays: Any) -> tuple[Any, ...]:
    """Rounds arrays to a precision, in the type they have: XLA may leave out a conversion there and back."""
    if precision == "float32":
        return arrays
    return tuple(lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7) for x in arrays)
