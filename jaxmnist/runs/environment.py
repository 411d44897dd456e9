"""Everything besides the configuration that a run's numbers depend on: versions, machine, devices, git revision."""

import contextlib
import functools
import importlib.metadata
import os
import platform
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

from jaxmnist.errors import JaxmnistWarning
from jaxmnist.runs.folder import CONFIG, naming_damage
from jaxmnist.runtime.jax_settings import number_settings, settings_difference
from jaxmnist.runtime.mesh import Where, mesh_shape, where_text
from jaxmnist.runtime.reading import read_json

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
        "settings": number_settings(),
        "git_revision": _git_revision(),
        "command": sys.argv,
    }


def device_facts(where: Where) -> dict[str, Any]:
    """Returns the devices part of `environment`."""
    return {"device": where_text(where), "devices": mesh_shape(where).devices}


def warn_of_settings(run: Path) -> None:
    """Warns if settings of JAX that change numbers are not those that a run was started with.

    Raises:
        CheckpointError: the run's configuration is damaged.
    """
    with naming_damage(run / CONFIG):
        before = read_json(run / CONFIG).get("environment", {}).get("settings")
        difference = (
            "" if before is None else settings_difference(before, number_settings())
        )  # None: older runs
    if difference:
        message = (
            f"since {run} was started, {difference}: its numbers will not be those of an uninterrupted run."
        )
        warnings.warn(message, JaxmnistWarning, stacklevel=4)


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
