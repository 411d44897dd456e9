"""Where the program runs: device selection, and what JAX needs to know before its first array."""

import contextlib
import ctypes
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
    _keep_freed_memory()  # before JAX starts threads, which choose where they allocate
    if choice == "cpu":
        jax.config.update("jax_platforms", "cpu")
    if choice == "auto":
        device = jax.local_devices()[0]
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


def simulate_cpu_devices(count: int) -> None:
    """Has JAX show the CPU as that many devices; call it before anything else uses JAX.

    They share the processor's cores: times on them say little of several devices.
    """
    jax.config.update("jax_num_cpu_devices", count)


def _devices(platform: str) -> list[Device]:
    try:
        return jax.local_devices(backend=platform)
    except RuntimeError:
        return []


# Of <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def _keep_freed_memory() -> None:
    """Has the C library keep what is freed for the next allocation, where it is glibc.

    XLA on a CPU allocates its intermediate arrays anew in every call of a program. By default glibc returns
    blocks of more than 32 MB to the system, which hands them out again page by page, filled with zeros: half
    the time of a jitted training step (`dilated`, batch 128: 104 ms with 11,600 page faults; 49 ms and none
    with this), and a fifth in chunks (63 and 50 ms).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return
    for parameter, size in ((_M_MMAP_THRESHOLD, 1 << 30), (_M_TRIM_THRESHOLD, (1 << 31) - 1)):
        mallopt(parameter, size)


def return_freed_memory() -> None:
    """Gives the system back what lies free, where the C library is glibc: what compiling took, 200 MB and more.

    For once, after compiling; what a program frees is kept, see `select_device`.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def use_compile_cache() -> Path | None:
    """Keeps compiled programs between processes, so that only the first start pays for compilation.

    Returns:
        `compile_cache_folder`, or None when it cannot be written: the run then compiles as if there were no cache.
    """
    path = compile_cache_folder()
    try:
        if path is None:
            return None
        path.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    if not os.access(path, os.W_OK):
        return None
    jax.config.update("jax_compilation_cache_dir", str(path))
    # Every program counts: by default JAX leaves out those that compile in under a second.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return path


def compile_cache_folder() -> Path | None:
    """Where compiled programs are kept: JAX's own setting `JAX_COMPILATION_CACHE_DIR` where that is set, otherwise
    `$XDG_CACHE_HOME/jaxmnist/xla` (`~/.cache` without that variable, `~/Library/Caches` on a Mac).

    Returns:
        The folder, which need not be there; None when there is no home folder to have it in.
    """
    if folder := os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return Path(folder)
    try:
        return _user_cache() / "jaxmnist" / "xla"
    except RuntimeError:
        return None


def _user_cache() -> Path:
    if "XDG_CACHE_HOME" in os.environ:
        return Path(os.environ["XDG_CACHE_HOME"])
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
