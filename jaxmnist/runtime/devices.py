"""Device selection, and settings that JAX and the C library need before the first array."""

import contextlib
import ctypes
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax

from jaxmnist.errors import UsageError

if TYPE_CHECKING:
    Device = Any  # jaxlib ships no type stubs
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


_MOST_CPU_DEVICES = 16


def select_device(choice: DeviceChoice = "auto") -> Device:
    """Makes a device the default of this process and returns it.

    Call it before anything else uses JAX, so that "cpu" keeps other platforms from starting at all, and the CPU is
    shown as one device for each core.

    Args:
        choice: kind of device; "auto" is the platform that JAX prefers, an accelerator if there is one.

    Raises:
        UsageError: there is no such device; the message says which there are and what to install.
    """
    _keep_freed_memory()  # before JAX starts threads, which choose where they allocate
    _show_cores()
    if choice == "cpu":
        jax.config.update("jax_platforms", "cpu")
    if choice == "auto":
        device = jax.local_devices()[0]
    else:
        device = next((found[0] for name in _PLATFORMS[choice] if (found := _devices(name))), None)
    if device is None:
        present = ", ".join(sorted({device.platform for device in jax.devices()} | {"cpu"}))
        raise UsageError(
            f"no {choice} device is available to JAX, only {present}; "
            f"choose --device auto, or install one: {_INSTALL[choice]}."
        )
    jax.config.update("jax_default_device", device)
    return device


def set_cpu_devices(count: int) -> None:
    """Makes JAX show the CPU as several devices; call it before anything else uses JAX.

    More devices than cores share the cores, so times on them say little about real devices.
    """
    jax.config.update("jax_num_cpu_devices", count)


def count_cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _show_cores() -> None:
    """Makes JAX show a CPU device for each core, unless it has started or the user has set their number."""
    if jax.config.values["jax_num_cpu_devices"] < 1 and "device_count" not in os.environ.get("XLA_FLAGS", ""):
        with contextlib.suppress(RuntimeError):  # JAX has started
            set_cpu_devices(min(count_cores(), _MOST_CPU_DEVICES))


def _devices(platform: str) -> list[Device]:
    try:
        return jax.local_devices(backend=platform)
    except RuntimeError:
        return []


# From <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def _keep_freed_memory() -> None:
    """Makes glibc keep freed memory for the next allocation; does nothing with other C libraries.

    On a CPU, XLA allocates its intermediate arrays anew in every call. By default glibc returns blocks above
    32 MB to the system, which hands them out again page by page, filled with zeros. That is half the time of a
    jitted training step (`dilated`, batch 128: 104 ms with 11,600 page faults; 49 ms and none with this), and a
    fifth in chunks (63 and 50 ms).
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, size in ((_M_MMAP_THRESHOLD, 1 << 30), (_M_TRIM_THRESHOLD, (1 << 31) - 1)):
            mallopt(parameter, size)


def return_freed_memory() -> None:
    """Returns free memory to the system, where the C library is glibc; compilation leaves 200 MB and more.

    Meant for once after compiling; memory that a program frees is kept, see `select_device`.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def use_compile_cache() -> Path | None:
    """Caches compiled programs on disk, so that only the first start pays for compilation.

    Returns:
        `compile_cache_folder()`, or None if it cannot be written; programs are then compiled in every process.
    """
    path = compile_cache_folder()
    if path is None:
        return None
    with contextlib.suppress(OSError):
        path.mkdir(parents=True, exist_ok=True)
    if not os.access(path, os.W_OK):
        return None
    jax.config.update("jax_compilation_cache_dir", str(path))
    # All programs: by default JAX leaves out those that compile in under a second.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return path


def compile_cache_folder() -> Path | None:
    """Folder for compiled programs; None without a home folder.

    JAX's own setting `JAX_COMPILATION_CACHE_DIR` comes first. Otherwise it is `jaxmnist/xla` in `XDG_CACHE_HOME`, which
    defaults to `~/.cache`, or `~/Library/Caches` on a Mac. The folder need not exist.
    """
    if folder := os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return Path(folder)
    if "XDG_CACHE_HOME" in os.environ:
        caches = Path(os.environ["XDG_CACHE_HOME"])
    else:
        try:
            caches = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
        except RuntimeError:
            return None
    return caches / "jaxmnist" / "xla"
