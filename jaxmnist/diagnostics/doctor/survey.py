"""Facts about the machine: versions, devices, folders, data. Nothing is downloaded or changed."""

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
from jaxmnist.runtime.devices import Device, compile_cache_folder, count_cores

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "tensorflow-datasets", "numpy", "pillow")

FREE_BYTES = 10**9
"""Free space below which there is a note: a run takes a few megabytes, the compile cache one or two hundred."""

_VARIABLES = re.compile(
    r"(XLA|JAX|JAXLIB|JAXMNIST|LIBTPU)_.*|TFDS_DATA_DIR|XDG_CACHE_HOME|CUDA_VISIBLE_DEVICES"
)
_CONSEQUENCES = {
    "compile cache": "every start compiles anew; set JAX_COMPILATION_CACHE_DIR to another folder",
    "TensorFlow Datasets": "nothing can be downloaded; set TFDS_DATA_DIR to another folder",
    "runs": "name another one with --runs",
}


def versions() -> dict[str, Any]:
    """Returns the versions of Python and the packages that affect numbers; `outdated` has a phrase for each too old."""
    found = {name: _version(name) for name in PACKAGES}
    lowest = _lowest_versions()
    outdated = [
        f"{name} is {version or 'missing'}, below the lowest supported version {lowest[name]}"
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
    """Returns processor, memory and devices; `device` is the selected one."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        memory = None
    return {
        "platform": platform.platform(),
        "cpus": count_cores(),
        "memory": memory,
        "devices": [f"{each.platform}: {each.device_kind}" for each in jax.devices()],
        "device": f"{device.platform}: {device.device_kind}",
        "executable": sys.executable,
        "environment": {
            name: value for name, value in sorted(os.environ.items()) if _VARIABLES.fullmatch(name)
        },
    }


def folders(runs: Path) -> dict[str, dict[str, Any]]:
    """Returns the state of the compile cache, the cache of TensorFlow Datasets, and the folder of runs.

    Each has `path`, `there`, `writable` (or creatable), and in bytes `size` and `free`, None if unknown.
    """
    try:
        datasets = tfds.cache_root()
    except DataUnavailableError:
        datasets = None
    places = {"compile cache": compile_cache_folder(), "TensorFlow Datasets": datasets, "runs": runs}
    return {name: _folder(path) for name, path in places.items()}


def data() -> dict[str, Any]:
    """Returns the `source` of MNIST, or None with the `reason`; `damaged` is True if its files are unusable."""
    try:
        return {"source": load_dataset("mnist", download=False).source, "reason": None, "damaged": False}
    except DataError as error:
        damaged = not isinstance(error, DataUnavailableError)
        return {"source": None, "reason": str(error), "damaged": damaged}


def notes(facts: dict[str, Any]) -> list[str]:
    """Returns a sentence about each problem among the facts, the results of the functions above by their names."""
    found = [f"{line}; install the versions of constraints.txt." for line in facts["versions"]["outdated"]]
    for name, folder in facts["folders"].items():
        if not folder["writable"]:
            found.append(f"the folder for {name} is not writable; {_CONSEQUENCES[name]}.")
        if folder["free"] is not None and folder["free"] < FREE_BYTES:
            space = f"{folder['free'] / 1e6:,.0f} MB"
            found.append(f"the disk of {folder['path']} has {space} left; make room there.")
    return [*found, facts["data"]["reason"]] if facts["data"]["damaged"] else found


def _folder(path: Path | None) -> dict[str, Any]:
    if path is None:  # there is no home folder
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
    """Lower bounds `name>=version` of the installed package's requirements; empty for a source tree."""
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
