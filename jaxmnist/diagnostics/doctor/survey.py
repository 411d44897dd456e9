"""What the package finds around it: versions, devices, folders, data. Nothing is downloaded or changed."""

import importlib.metadata
import os
import platform
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import jax

from jaxmnist.data import DataUnavailableError, load_dataset, tfds
from jaxmnist.errors import DataError
from jaxmnist.runtime.devices import Device, compile_cache_folder

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "tensorflow-datasets", "numpy", "pillow")

FREE_BYTES = 10**9
"""Less free space than this is worth a word: a run takes a few megabytes, the compile cache a hundred or two."""

_VARIABLES = re.compile(
    r"(XLA|JAX|JAXLIB|JAXMNIST|LIBTPU)_.*|TFDS_DATA_DIR|XDG_CACHE_HOME|CUDA_VISIBLE_DEVICES"
)


def versions() -> dict[str, Any]:
    """Python and the packages that decide numbers; `outdated` says which are older than this package supports."""
    found = {name: _version(name) for name in PACKAGES}
    lowest = _lowest_versions()
    outdated = [
        f"{name} is {version or 'missing'} where {lowest[name]} is the lowest supported version"
        for name, version in found.items()
        if name in lowest and (version is None or _numbers(version) < _numbers(lowest[name]))
    ]
    return {
        "jaxmnist": _version("jaxmnist"),
        "python": platform.python_version(),
        "packages": found,
        "outdated": outdated,
    }


def machine(device: Device) -> dict[str, Any]:
    """Processor, memory, and the devices that JAX sees; `device` is the one that would be used."""
    return {
        "platform": platform.platform(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory": _memory(),
        "devices": [_name(each) for each in jax.devices()],
        "device": _name(device),
        "executable": sys.executable,
        "environment": {
            name: value for name, value in sorted(os.environ.items()) if _VARIABLES.fullmatch(name)
        },
    }


def folders(runs: Path) -> dict[str, dict[str, Any]]:
    """The compile cache, the cache of TensorFlow Datasets, and where runs go; see `_folder`."""
    try:
        datasets = tfds.cache_root()
    except DataUnavailableError:
        datasets = None
    places = {"compile cache": compile_cache_folder(), "TensorFlow Datasets": datasets, "runs": runs}
    return {name: _folder(path) for name, path in places.items()}


def data() -> dict[str, Any]:
    """Where MNIST is: `source`, or with None the `reason`; `damaged` where it is there and no good."""
    try:
        return {"source": load_dataset("mnist", download=False).source, "reason": None, "damaged": False}
    except DataError as error:
        damaged = not isinstance(error, DataUnavailableError)
        return {"source": None, "reason": str(error), "damaged": damaged}


def notes(facts: dict[str, Any]) -> list[str]:
    """What in these facts, of the functions above by their names, is worth a word: a sentence each."""
    found = [f"{line}; install the versions of constraints.txt." for line in facts["versions"]["outdated"]]
    for name, folder in facts["folders"].items():
        if not folder["writable"]:
            found.append(f"the folder for {name} cannot be written to; {_WITHOUT[name]}.")
        if folder["free"] is not None and folder["free"] < FREE_BYTES:
            found.append(
                f"the disk of {folder['path']} has {folder['free'] / 1e6:,.0f} MB left; make room there."
            )
    if facts["data"]["damaged"]:
        found.append(facts["data"]["reason"])
    return found


_WITHOUT = {
    "compile cache": "every start compiles anew, unless JAX_COMPILATION_CACHE_DIR names another one",
    "TensorFlow Datasets": "nothing can be downloaded, unless TFDS_DATA_DIR names another one",
    "runs": "name another one with --runs",
}


def _folder(path: Path | None) -> dict[str, Any]:
    """`path` (None: there is no home folder to have it in), whether it is `there` and `writable` (or could be
    made), the `size` of what is in it and the `free` space, in bytes; None where that cannot be told."""
    if path is None:
        return {"path": None, "there": False, "writable": False, "size": None, "free": None}
    path = path.expanduser().absolute()
    nearest = next(place for place in (path, *path.parents) if os.path.lexists(place))
    writable = nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
    try:
        size = sum(entry.lstat().st_size for entry in path.rglob("*")) if path.is_dir() else None
        free = shutil.disk_usage(nearest).free
    except OSError:
        size = free = None
    return {"path": str(path), "there": path.is_dir(), "writable": writable, "size": size, "free": free}


def _lowest_versions() -> dict[str, str]:
    """Of the requirements `name>=version` of the installed package; empty where it runs from its sources."""
    try:
        requirements = importlib.metadata.requires("jaxmnist") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    found = (re.match(r"([\w.-]+)>=([\w.]+)", line) for line in requirements if "extra" not in line)
    return {match[1]: match[2] for match in found if match}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _name(device: Device) -> str:
    return f"{device.platform}: {device.device_kind}"
