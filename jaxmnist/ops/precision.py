"""Mixed precision: products of bfloat16 factors with sums in float32; everything else stays in float32."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Literal

from jax import lax
from jaxtyping import Array, Float

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


def rounded(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Rounds to the nearest bfloat16, in float32: XLA may leave out a conversion there and back."""
    return lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7)
