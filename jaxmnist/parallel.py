"""Where the program runs: device selection, and what JAX needs to know before its first array."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax

from jaxmnist.errors import UsageError

if TYPE_CHECKING:
    Device = Any  # jaxlib comes without type stubs: a checker cannot know the class
else:
    Device = jax.Device

DeviceChoice = Literal["auto", "cpu", "gpu", "metal", "tpu"]

# A platform's name depends on the plugin: CUDA and ROCm both answer to "gpu"; jax-metal registers "METAL",
# jax-mps "mps".
_PLATFORMS = {"cpu": ("cpu",), "gpu": ("gpu",), "metal": ("METAL", "mps"), "tpu": ("tpu",)}
_INSTALL = {
    "gpu": "pip install 'jaxmnist[cuda]'",
    "metal": "pip install 'jaxmnist[metal]' (Apple silicon, Python 3.13 or later)",
    "tpu": "pip install 'jax[tpu]'",
}


def select_device(choice: DeviceChoice = "auto") -> Device:
    """Makes a device the default one of this process and returns it.

    Call it before anything else uses JAX: asking for the CPU then keeps other platforms from starting at all.

    Args:
        choice: kind of device; "auto" is the platform that JAX prefers, an accelerator if there is one.

    Raises:
        UsageError: there is no such device; the message says which there are and what to install.
    """
    if choice == "cpu":
        jax.config.update("jax_platforms", "cpu")
    if choice == "auto":
        device = jax.devices()[0]
    else:
        device = next((found[0] for name in _PLATFORMS[choice] if (found := _devices(name))), None)
    if device is None:
        there = ", ".join(sorted({device.platform for device in jax.devices()} | {"cpu"}))
        raise UsageError(
            f"no {choice} device is available to JAX, only {there}; "
            f"choose --device auto, or install one: {_INSTALL[choice]}."
        )
    jax.config.update("jax_default_device", device)
    return device


def _devices(platform: str) -> list[Device]:
    try:
        return jax.devices(platform)
    except RuntimeError:
        return []


def use_compile_cache() -> Path | None:
    """Keeps compiled programs between processes, so that only the first start pays for compilation.

    The folder is JAX's own setting `JAX_COMPILATION_CACHE_DIR` where that is set, otherwise
    `$XDG_CACHE_HOME/jaxmnist/xla` (`~/.cache` without that variable, `~/Library/Caches` on a Mac).

    Returns:
        The folder, or None when it cannot be written: the run then compiles as if there were no cache.
    """
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    try:
        path = Path(folder) if folder else _user_cache() / "jaxmnist" / "xla"
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: there is no home folder
        return None
    if not os.access(path, os.W_OK):
        return None
    jax.config.update("jax_compilation_cache_dir", str(path))
    # Every program counts: by default JAX leaves out those that compile in under a second.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return path


def _user_cache() -> Path:
    if "XDG_CACHE_HOME" in os.environ:
        return Path(os.environ["XDG_CACHE_HOME"])
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
