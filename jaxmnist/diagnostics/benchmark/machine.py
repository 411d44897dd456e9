"""Rate of the machine: a product of large matrices."""

import jax

from jaxmnist.diagnostics.benchmark.turns import Variant, timed
from jaxmnist.runtime.devices import Device

_SIDE = 1024
PRODUCT_FLOP = 2 * _SIDE**3
"""Floating-point operations of one product; a multiplication and an addition are two."""


def matrix_products(device: Device) -> Variant:
    """Returns products of two float32 matrices of 1,024 rows and columns, one after the other."""
    key = jax.random.key(0)
    a, b = (jax.device_put(jax.random.normal(k, (_SIDE, _SIDE)), device) for k in jax.random.split(key))

    @jax.jit
    def product(a, b):
        return jax.numpy.matmul(a, b, precision="highest")

    def multiply(count: int) -> jax.Array:
        result = a
        for _ in range(count):
            result = product(a, b)
        return result

    return timed(multiply)
