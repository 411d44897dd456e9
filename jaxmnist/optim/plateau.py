"""Cuts of the learning rate when a metric stops improving.

The schedule is `torch.optim.lr_scheduler.ReduceLROnPlateau`, which computes in float64. Plain float32 would decide
differently in two places:

- Cuts. The evolution recipe reaches the tie 2e-8 - 1e-8 > eps = 1e-8, true only by the rounding of float64.
  Metrics decide the time of a cut, never its size, so the rates are computed in advance on the host in float64.
- Improvements. The error of best * (1 - threshold) is as large as the difference of neighbouring metrics. Written
  as a gain, best - metric > threshold * best, the left side is exact near the border and the right side is
  computed to 48 bits.

So the rates equal torch's, rounded to float32, if torch observes the same float32 metrics.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer
from jaxtyping import Array, Bool, Float32, Int32, PyTree, ScalarLike

from jaxmnist.optim.schedules import descend, number, require

# More cuts than anyone trains epochs. The table of rates has this length at most; its last rate stays.
_MOST_CUTS = 1024


def reduce_on_plateau(
    lr: ScalarLike,
    mode: str = "min",
    factor: ScalarLike = 0.1,
    patience: ScalarLike = 10,
    threshold: ScalarLike = 1e-4,
    threshold_mode: str = "rel",
    cooldown: ScalarLike = 0,
    min_lr: ScalarLike = 0.0,
    eps: ScalarLike = 1e-8,
) -> optax.GradientTransformation:
    """Returns a transformation that multiplies updates by minus a learning rate cut on plateaus of a metric.

    Put it last in `optax.chain` and call `observe` once an epoch:

    ```
    optimizer = optax.chain(optax.trace(0.9), reduce_on_plateau(0.01, factor=0.5, patience=3))
    opt_state = observe(optimizer.init(params), test_loss)
    ```

    Numbers may be traced arrays, so `jax.vmap` can run many rates at once; such rates are float32 products, a few
    units in the last place from torch's.

    Args:
        lr: initial learning rate.
        mode: "min" if a smaller metric is better, "max" if a larger one is.
        factor: factor of the rate at a cut, from 0 to below 1.
        patience: number of epochs without improvement that are tolerated; the next one cuts.
        threshold: smallest change that counts as an improvement.
        threshold_mode: "rel" for a threshold relative to the best metric, "abs" for a difference.
        cooldown: number of epochs after a cut in which bad epochs are not counted.
        min_lr: lower limit of the rate.
        eps: a cut that changes the rate by no more than this is skipped.

    Raises:
        UsageError: a number that is not traced is out of range. Unlike in torch, that includes a relative
            threshold of 1 or more in mode "min", with which no metric would ever count as an improvement.
    """
    require("mode", mode, mode in ("min", "max"), "'min' or 'max'")
    require("threshold_mode", threshold_mode, threshold_mode in ("rel", "abs"), "'rel' or 'abs'")
    lr, factor, min_lr = number("lr", lr), number("factor", factor, below=1.0), number("min_lr", min_lr)
    eps = number("eps", eps)
    threshold_below = 1.0 if mode == "min" and threshold_mode == "rel" else math.inf
    threshold = number("threshold", threshold, below=threshold_below)
    threshold_rest = threshold - float(np.float32(threshold)) if isinstance(threshold, float) else 0.0
    patience = number("patience", patience, below=2.0**31, whole=True)
    cooldown = number("cooldown", cooldown, below=2.0**31, whole=True)

    # Arrays are made in `init`: a donated state must not share buffers with the next one.
    def init(params: optax.Params) -> PlateauState:
        del params
        rates = _rates(lr, factor, min_lr, eps)
        return PlateauState(
            learning_rate=jnp.array(rates[0], jnp.float32),
            best=jnp.array(jnp.inf if mode == "min" else -jnp.inf, jnp.float32),
            bad_epochs=jnp.array(0, jnp.int32),
            cooldown_left=jnp.array(0, jnp.int32),
            cuts=jnp.array(0, jnp.int32),
            rates=jnp.array(rates, jnp.float32),
            lower_is_better=jnp.array(mode == "min"),
            relative=jnp.array(threshold_mode == "rel"),
            threshold=jnp.array(threshold, jnp.float32),
            threshold_rest=jnp.array(threshold_rest, jnp.float32),
            patience=jnp.array(patience, jnp.int32),
            cooldown=jnp.array(cooldown, jnp.int32),
        )

    return optax.GradientTransformation(init, descend)


def observe(opt_state: PyTree, metric: ScalarLike) -> PyTree:
    """Returns the optimizer state after an epoch with this metric (as float32; NaN is a bad epoch).

    Finds the state of `reduce_on_plateau` anywhere in `opt_state`; without one nothing changes. Pure; can be
    called from the host or inside `jax.jit` and `jax.vmap`.
    """

    def visit(node):
        return _observe(node, jnp.asarray(metric, jnp.float32)) if isinstance(node, PlateauState) else node

    return jax.tree.map(visit, opt_state, is_leaf=lambda node: isinstance(node, PlateauState))


class PlateauState(NamedTuple):
    """State of `reduce_on_plateau`. Steps leave it unchanged; `observe` updates the first five fields."""

    learning_rate: Float32[Array, ""]  # current
    best: Float32[Array, ""]  # best metric so far, infinite before the first
    bad_epochs: Int32[Array, ""]  # since the last improvement, cut or cooldown
    cooldown_left: Int32[Array, ""]  # epochs until bad ones count again
    cuts: Int32[Array, ""]  # so far, up to the end of the table of rates
    rates: Float32[Array, " cuts"]  # after 0, 1, 2, ... cuts
    lower_is_better: Bool[Array, ""]  # mode "min"
    relative: Bool[Array, ""]  # threshold_mode "rel"
    threshold: Float32[Array, ""]
    threshold_rest: Float32[Array, ""]  # rounding error of the threshold in float32
    patience: Int32[Array, ""]
    cooldown: Int32[Array, ""]


# Jitted by itself: called from the host it is one small program instead of twenty.
@jax.jit
def _observe(state: PlateauState, metric: Float32[Array, ""]) -> PlateauState:
    better = _is_better(state, metric)
    cooling = state.cooldown_left > 0
    bad_epochs = jnp.where(better | cooling, 0, state.bad_epochs + 1)
    cut = bad_epochs > state.patience
    # A skipped cut (eps, min_lr) is the end of the table; it still resets the counters.
    cuts = jnp.minimum(state.cuts + cut.astype(jnp.int32), state.rates.shape[0] - 1)
    return state._replace(
        learning_rate=state.rates[cuts],
        best=jnp.where(better, metric, state.best),
        bad_epochs=jnp.where(cut, 0, bad_epochs),
        cooldown_left=jnp.where(cut, state.cooldown, state.cooldown_left - cooling.astype(jnp.int32)),
        cuts=cuts,
    )


def _is_better(state: PlateauState, metric: Float32[Array, ""]) -> Bool[Array, ""]:
    best = state.best
    gain = jnp.where(state.lower_is_better, best - metric, metric - best)
    reference = jnp.where(state.relative, best, 1.0)
    margin, rest = _exact_product(state.threshold, reference)
    beyond_margin = gain - margin > rest + state.threshold_rest * reference
    # With an infinite best the gain is infinite or NaN, and the margin plays no part in torch's comparison.
    from_infinity = jnp.where(state.lower_is_better, metric < best, metric > best)
    return jnp.where(jnp.isfinite(best), beyond_margin, from_infinity)


def _exact_product(x: Float32[Array, ""], y: Float32[Array, ""]) -> tuple[Array, Array]:
    """Rounded product and its rounding error (T. J. Dekker, Numerische Mathematik 18, 1971)."""
    # Halves by rounding to 12 bits; Dekker's 4097 x - (4097 x - x) breaks if a compiler fuses it.
    x_high, y_high = (jax.lax.reduce_precision(value, exponent_bits=8, mantissa_bits=11) for value in (x, y))
    x_low, y_low = x - x_high, y - y_high
    product = x * y
    return product, ((x_high * y_high - product) + x_high * y_low + x_low * y_high) + x_low * y_low


def _rates(
    lr: float | Array, factor: float | Array, min_lr: float | Array, eps: float | Array
) -> list[float | Array] | Array:
    """Rates after 0, 1, 2, ... cuts, up to the first skipped cut, after which all cuts are skipped."""
    if any(isinstance(value, Tracer) for value in (lr, factor, min_lr, eps)):

        def cut(rate, _):
            lower = jnp.maximum(rate * jnp.asarray(factor, jnp.float32), jnp.asarray(min_lr, jnp.float32))
            return jnp.where(rate - lower > jnp.asarray(eps, jnp.float32), lower, rate), rate

        return jax.lax.scan(cut, jnp.asarray(lr, jnp.float32), length=_MOST_CUTS + 1)[1]
    rates = [lr]
    while len(rates) <= _MOST_CUTS and rates[-1] - max(rates[-1] * factor, min_lr) > eps:
        rates.append(max(rates[-1] * factor, min_lr))
    return rates
