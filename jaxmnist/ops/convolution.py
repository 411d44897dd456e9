"""Convolution and its gradient: matrix products on a CPU, XLA's own convolution elsewhere.

Feature maps are `[channels, height, width, batch]`, see `jaxmnist.ops`.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxmnist.ops.precision import Precision, as_factors
from jaxmnist.ops.winograd import products_of_rows, row_tile, winograd_conv, winograd_conv_vjp


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def conv2d(
    x: Float[Array, "c_in h w batch"],
    kernel: Float[Array, "kh kw c_in c_out"],
    padding: int = 0,
    dilation: int = 1,
    factors: Precision = "float32",
) -> Float[Array, "c_out h_out w_out batch"]:
    """Computes the cross-correlation with stride 1 and symmetric zero padding.

    Args:
        x: feature map.
        kernel: weights, HWIO.
        padding: zeros added on every side of the map.
        dilation: distance in pixels between neighbouring kernel taps.
        factors: precision of the factors, also in the gradient; a CPU rounds to it and multiplies in float32.
    """
    x, kernel = as_factors(factors, x, kernel)
    return _convolved(_computed(x), kernel, padding, dilation, factors)


def _conv2d_forward(x, kernel, padding, dilation, factors):
    x, kernel = as_factors(factors, x, kernel)
    x = _computed(x)
    return _computed(_convolved(x, kernel, padding, dilation, factors)), (x, kernel)


def _computed(x):
    """Makes XLA compute an array once, on a CPU; see below."""
    return lax.platform_dependent(x, cpu=lax.optimization_barrier, default=lambda x: x)


def _convolved(x, kernel, padding, dilation, factors):
    return lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(_cpu_conv, padding=padding, dilation=dilation),
        default=functools.partial(_library_conv, padding=padding, dilation=dilation, factors=factors),
    )


def _conv2d_backward(padding, dilation, factors, residuals, dy):
    convolve = functools.partial(_library_conv, padding=padding, dilation=dilation, factors=factors)

    def library_vjp(x, kernel, dy):
        return jax.vjp(convolve, x, kernel)[1](dy)

    return lax.platform_dependent(
        *residuals,
        *as_factors(factors, dy),
        cpu=functools.partial(_cpu_conv_vjp, padding=padding, dilation=dilation),
        default=library_vjp,
    )


conv2d.defvjp(_conv2d_forward, _conv2d_backward)


def _library_conv(x, kernel, *, padding, dilation, factors):
    dtype = x.dtype
    if factors == "bfloat16":
        x, kernel = x.astype(factors), kernel.astype(factors)
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(1, 1),
        padding=[(padding, padding)] * 2,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("CHWN", "HWIO", "CHWN"),
    ).astype(dtype)


def _is_for_winograd(x, kernel, padding, dilation) -> bool:
    """True for maps of several channels whose height can be divided into tiles of `jaxmnist.ops.winograd`.

    A convolution with its gradient takes from 0.54 (16 channels to 32, 26x26 pixels) to 0.9 (4 to 4, 12x12) of the
    time of `_matmul_conv` there.
    """
    height = x.shape[1] + 2 * padding - 2 * dilation
    return kernel.shape[:2] == (3, 3) and x.shape[0] > 1 and row_tile(height, dilation) is not None


# The barriers make XLA compute the input of a convolution once: without them it recomputes the input in every
# loop that reads it (`compiler_options`). In training the result is kept too, as its gradient needs it; in
# evaluation the single loop that reads the result adds the shifts itself. The gradient stacks the columns anew, one
# tile after the other, each read by its product while the inner caches hold it: behind the barrier with `dy`, or XLA
# would find that the forward pass stacks the same, and would keep all of them.


def _cpu_conv(x, kernel, *, padding, dilation):
    if x.shape[0] == 1:
        return _patch_conv(x, kernel, padding, dilation)
    if _is_for_winograd(x, kernel, padding, dilation):
        return winograd_conv(x, kernel, padding, dilation)
    return _matmul_conv(x, kernel, padding, dilation)


def _cpu_conv_vjp(x, kernel, dy, *, padding, dilation):
    x, dy = lax.optimization_barrier((x, dy))
    if _is_for_winograd(x, kernel, padding, dilation):
        dx, d_kernel = winograd_conv_vjp(x, kernel, dy, padding, dilation)
    else:
        dx, d_kernel = _matmul_conv_vjp(x, kernel, dy, padding, dilation)
    if x.shape[0] == 1:
        d_kernel = products_of_rows(_patches(x, kernel, padding, dilation), dy).reshape(kernel.shape)
    return lax.optimization_barrier(dx), d_kernel


def _patch_conv(x, kernel, padding, dilation):
    """Convolves a map of one channel by one product with all its patches, which are no larger than the result."""
    patches = lax.optimization_barrier(_patches(x, kernel, padding, dilation))
    return lax.dot_general(kernel.reshape(-1, kernel.shape[3]).T, patches, (((1,), (0,)), ((), ())))


def _patches(x, kernel, padding, dilation):
    """Shifted copies of the map, one for each tap of the kernel, in row order."""
    kh, kw = kernel.shape[:2]
    height = x.shape[1] + 2 * padding - (kh - 1) * dilation
    columns = lax.optimization_barrier(_column_shifts(x, kw, padding, dilation))
    return jnp.concatenate([columns[:, i * dilation : i * dilation + height] for i in range(kh)])


def _matmul_conv(x, kernel, padding, dilation):
    """Stacks the column shifts of the map, takes one product with all kernel rows, adds the row shifts.

    Of all ways to write a small convolution as products this has the fewest copies (kw maps, where a full patch
    matrix copies kh * kw) and the smallest surplus in the product (the rows that fall outside).
    """
    kh, kw, _, c_out = kernel.shape
    columns = _column_shifts(x, kw, padding, dilation)
    products = lax.dot_general(_kernel_matrix(kernel), columns, (((1,), (0,)), ((), ())))
    height = products.shape[1] - (kh - 1) * dilation
    rows = [
        lax.slice_in_dim(products[i * c_out : (i + 1) * c_out], i * dilation, i * dilation + height, axis=1)
        for i in range(kh)
    ]
    return functools.reduce(jnp.add, rows)


def _matmul_conv_vjp(x, kernel, dy, padding, dilation):
    """Transposes each step of `_matmul_conv`."""
    kh, kw, c_in, c_out = kernel.shape
    height, width = x.shape[1:3]
    padded = height + 2 * padding
    rows = jnp.concatenate([_window(dy, 1, -i * dilation, padded - i * dilation) for i in range(kh)])
    d_columns = lax.dot_general(_kernel_matrix(kernel), rows, (((0,), (0,)), ((), ())))
    overhang = (kw - 1) * dilation
    shifts = [
        jnp.pad(
            d_columns[j * c_in : (j + 1) * c_in],
            ((0, 0), (0, 0), (j * dilation, overhang - j * dilation), (0, 0)),
        )
        for j in range(kw)
    ]
    dx = functools.reduce(jnp.add, shifts)[:, padding : padding + height, padding : padding + width]
    d_matrix = products_of_rows(_column_shifts(x, kw, padding, dilation), rows)
    return dx, d_matrix.reshape(kw, c_in, kh, c_out).transpose(2, 0, 1, 3)


def _window(x, axis, start, stop):
    """A part of a map along an axis, with zeros outside the map."""
    inside = lax.slice_in_dim(x, max(start, 0), max(min(stop, x.shape[axis]), 0), axis=axis)
    before = min(max(-start, 0), stop - start)
    widths = [(0, 0)] * x.ndim
    widths[axis] = before, stop - start - before - inside.shape[axis]
    return jnp.pad(inside, widths)


def _kernel_matrix(kernel):
    kh, kw, c_in, c_out = kernel.shape
    return kernel.transpose(0, 3, 1, 2).reshape(kh * c_out, kw * c_in)


def _column_shifts(x, kw, padding, dilation):
    """Stacks the map, padded, shifted by each column of the kernel.

    Each copy is padded by itself, in the loop that writes it: XLA pads a map value by value.
    """
    width = x.shape[2] + 2 * padding - (kw - 1) * dilation
    starts = [j * dilation - padding for j in range(kw)]
    shifts = [
        _window(_window(x, 2, start, start + width), 1, -padding, x.shape[1] + padding) for start in starts
    ]
    return jnp.concatenate(shifts) if kw > 1 else shifts[0]
