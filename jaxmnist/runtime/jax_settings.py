"""JAX's settings as the user made them: those that calls of this package set aside, and those that change numbers."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

import jax

_DEFAULTS = {
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_random_seed_offset": 0,
    "jax_default_matmul_precision": None,
    "jax_disable_jit": False,
}
_COMPILER_FLAGS = "XLA_FLAGS"


@contextlib.contextmanager
def own_settings() -> Iterator[None]:
    """Context manager and decorator for the calls of this package that compute.

    Within it numbers are float32 as without `jax_enable_x64`, and `jax_transfer_guard` does not count the transfers
    between host and device, which are deliberate here. Both hold for one thread.
    """
    with jax.enable_x64(False), jax.transfer_guard("allow"):
        yield


def keep_own_settings() -> None:
    """Makes `own_settings` those of the whole process, for a command."""
    jax.config.update("jax_enable_x64", False)
    jax.config.update("jax_transfer_guard", "allow")


def number_settings() -> dict[str, Any]:
    """Returns the settings in force that change a run's numbers and are not JAX's defaults."""
    values = {name: getattr(jax.config, name) for name in _DEFAULTS}
    found = {name: value for name, value in values.items() if value != _DEFAULTS[name]}
    flags = os.environ.get(_COMPILER_FLAGS, "")
    return found | ({_COMPILER_FLAGS: flags} if flags else {})


def settings_difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Describes as a clause how two results of `number_settings` differ; empty if they do not."""
    every = {**_DEFAULTS, _COMPILER_FLAGS: ""}
    changed = [name for name in every if before.get(name, every[name]) != now.get(name, every[name])]
    return ", ".join(
        f"{name} was {before.get(name, every[name])!r} and is {now.get(name, every[name])!r}"
        for name in changed
    )
