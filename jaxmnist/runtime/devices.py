"""Device selection, and settings that JAX and the C library need before the first array."""

import contextlib
import ctypes
import difflib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax

from jaxmnist.errors import UsageError, shortened
from jaxmnist.runtime.forks import require_own_jax
from jaxmnist.runtime.installation import install_line

if TYPE_CHECKING:
    Device = Any  # jaxlib ships no type stubs
else:
    Device = jax.Device

DeviceChoice = Literal["auto", "cpu", "gpu", "metal", "tpu"]

# A platform's name depends on the plugin: CUDA and ROCm both answer to "gpu"; jax-metal registers "METAL",
# jax-mps "mps".
_PLATFORMS: dict[DeviceChoice, tuple[str, ...]] = {
    "cpu": ("cpu",),
    "gpu": ("gpu",),
    "metal": ("METAL", "mps"),
    "tpu": ("tpu",),
}
_EXTRAS = {"gpu": "cuda", "metal": "metal"}
_KINDS = {
    "cpu": None,
    "cuda": "gpu",
    "gpu": "gpu",
    "rocm": None,
    "tpu": "tpu",
    "METAL": "metal",
    "mps": "metal",
}
"""Values of JAX's own setting `jax_platforms`, with the kind of device to install; None if no pip line helps."""


_MOST_CPU_DEVICES = 16


def select_device(choice: DeviceChoice = "auto") -> Device:
    """Makes a device the default of this process and returns it.

    Call it before anything else uses JAX, so that "cpu" keeps other platforms from starting at all, and the CPU is
    shown as one device for each core.

    Args:
        choice: kind of device; "auto" is the platform that JAX prefers, an accelerator if there is one.

    Raises:
        UsageError: there is no such device, the message says which there are and what to install; `JAX_PLATFORMS`
            names one that cannot start; or the process was forked after JAX had started.
    """
    require_own_jax()
    _keep_freed_memory()  # before JAX starts threads, which choose where they allocate
    show_cores()
    if choice == "cpu":
        jax.config.update("jax_platforms", "cpu")
    present = _present()
    if choice == "auto":
        device = present[0]
    else:
        device = next((found[0] for name in _PLATFORMS[choice] if (found := _devices(name))), None)
    if device is None:
        platforms = ", ".join(sorted({device.platform for device in present} | {"cpu"}))
        raise UsageError(
            f"no {choice} device is available to JAX, only {platforms}; choose --device auto, or {_remedy(choice)}."
        )
    jax.config.update("jax_default_device", device)
    return device


def device_like(platform: str) -> Device:
    """Selects a device of a platform, as `select_device` does; the preferred one if this machine has none.

    Args:
        platform: the platform, by JAX's name.

    Raises:
        UsageError: as for `select_device`.
    """
    choices: list[DeviceChoice] = [choice for choice, names in _PLATFORMS.items() if platform in names]
    try:
        return select_device(*choices)
    except UsageError:
        return select_device()


def _present() -> list[Device]:
    """Returns this process's devices, those of the preferred platform.

    Raises:
        UsageError: JAX's own setting names platforms that cannot start.
    """
    try:
        return jax.local_devices()
    except (RuntimeError, AssertionError) as error:  # JAX asserts that a plugin it lacks has started
        setting = _own_setting()
        if setting is None:
            raise
        raise UsageError(f"{setting} {_fault(setting.partition('=')[2].split(','), error)}.") from error


def _fault(platforms: list[str], error: Exception) -> str:
    """Describes platforms that cannot start, and the remedy, as a clause."""
    for name in platforms:
        if name not in _KINDS:
            close = difflib.get_close_matches(name, _KINDS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"it knows {', '.join(_KINDS)}"
            return f"names a platform that JAX does not know ({hint}); correct it or unset it"
    kind = next((kind for name in platforms if (kind := _KINDS[name])), None)
    reason = shortened(str(error).partition("\n")[0].rstrip(".")) or "there is no plugin for it"
    remedy = "unset it" if kind is None else f"unset it, or install one: {_install(kind)}"
    return f"names a platform that JAX cannot start here ({reason}); {remedy}"


def _own_setting() -> str | None:
    """Returns the setting by which the user restricts the platforms, as an assignment; None if there is none."""
    value = jax.config.jax_platforms  # pyright: ignore[reportAttributeAccessIssue]
    if not value:
        return None
    return f"{'JAX_PLATFORMS' if os.environ.get('JAX_PLATFORMS') == value else 'jax_platforms'}={value}"


def _remedy(choice: DeviceChoice) -> str:
    """Returns the advice for a kind of device that is missing, as a clause."""
    setting = os.environ.get("JAX_PLATFORMS")
    if setting and not {"cuda", "rocm", *_PLATFORMS[choice]} & {*setting.split(",")}:
        return f"unset JAX_PLATFORMS={setting}, which leaves it out"
    return f"install one: {_install(choice)}"


def _install(choice: str) -> str:
    line = f"pip install 'jax[{choice}]'" if choice not in _EXTRAS else install_line(_EXTRAS[choice])
    return line + (" (Apple silicon, Python 3.13 or later)" if choice == "metal" else "")


def set_cpu_devices(count: int) -> None:
    """Makes JAX show the CPU as several devices; call it before anything else uses JAX.

    More devices than cores share the cores, so times on them say little about real devices.
    """
    jax.config.update("jax_num_cpu_devices", count)


def peak_memory(device: Device) -> int | None:
    """Returns the most bytes of a device that were in use since the process began; None where JAX does not count."""
    stats = device.memory_stats() or {}
    return stats.get("peak_bytes_in_use")


def count_cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def show_cores() -> None:
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

    JAX's own setting `jax_compilation_cache_dir`, or `JAX_COMPILATION_CACHE_DIR`, comes first. Otherwise it is
    `jaxmnist/xla` in `XDG_CACHE_HOME`, which defaults to `~/.cache`, or `~/Library/Caches` on a Mac.
    The folder need not exist.
    """
    own = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    if folder := own or os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return Path(folder)
    if "XDG_CACHE_HOME" in os.environ:
        caches = Path(os.environ["XDG_CACHE_HOME"])
    else:
        try:
            caches = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
        except RuntimeError:
            return None
    return caches / "jaxmnist" / "xla"
