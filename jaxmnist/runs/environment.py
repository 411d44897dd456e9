"""Everything besides the configuration that a run's numbers depend on: versions, machine, devices, git revision."""

import contextlib
import functools
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from jaxmnist.runtime.mesh import Where, mesh_shape, where_text

_PACKAGES = ("jaxmnist", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def environment(where: Where) -> dict[str, Any]:
    """Returns everything besides the configuration that numbers depend on: versions, machine, devices, git revision."""
    return {
        "python": platform.python_version(),
        "packages": versions(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cpu_count": os.cpu_count(),
        **device_facts(where),
        "git_revision": _git_revision(),
        "command": sys.argv,
    }


def device_facts(where: Where) -> dict[str, Any]:
    """Returns the devices part of `environment`."""
    return {"device": where_text(where), "devices": mesh_shape(where).devices}


@functools.cache
def versions() -> dict[str, str | None]:
    """Returns the versions of the packages that decide numbers and files; None for a package that is not installed."""
    found: dict[str, str | None] = dict.fromkeys(_PACKAGES)
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def _git_revision() -> str | None:
    source = Path(__file__).parents[1]
    if not (source.parent / ".git").exists():
        return None
    command = ["git", "-C", str(source), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
