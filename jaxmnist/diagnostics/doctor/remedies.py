"""Search for a remedy of wrong numbers: reruns the check in subprocesses, each with one suspect setting disabled."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

import jax

from jaxmnist.runtime.devices import Device

YNNPACK_OFF = "--xla_cpu_experimental_ynn_fusion_type="
"""Disables YNNPACK in XLA on a CPU, which has caused wrong results and crashes (jax issues 39103, 39257, 40412, 37465).
An XLA that does not know the flag ends the process."""

_TIMEOUT = 300
_HARMLESS = ("JAX_PLATFORMS", "JAX_COMPILATION_CACHE_DIR")

_PROGRAM = """
import json, sys
from jaxmnist.diagnostics.doctor.numerics import check
from jaxmnist.runtime.devices import select_device
choice, *archs = sys.argv[1:]
device = select_device(choice)
print(json.dumps(all(check(arch, device).passed for arch in archs)))
"""


class Remedy(NamedTuple):
    """A change of the setup that may correct wrong numbers."""

    advice: str
    """Advice to the user, to follow "fixed by"."""
    environment: dict[str, str | None]
    """Changes of the environment; None unsets a variable."""
    device: str = "auto"
    """Value of `--device`."""


def remedies(device: Device) -> Iterator[Remedy]:
    """Yields possible remedies for a device, the likeliest first."""
    choice = "cpu" if device.platform == "cpu" else "auto"
    flags = os.environ.get("XLA_FLAGS", "")
    if cache := jax.config.values["jax_compilation_cache_dir"]:
        yield Remedy(f"deleting the compile cache {cache}", {}, device=choice)
    own = sorted(name for name in os.environ if name.startswith(("JAX_", "XLA_")) and name not in _HARMLESS)
    if own:
        yield Remedy(f"unsetting {', '.join(own)}", dict.fromkeys(own), device=choice)
    if device.platform == "cpu" and YNNPACK_OFF not in flags:
        value = f"{flags} {YNNPACK_OFF}".strip()
        yield Remedy(f"setting XLA_FLAGS='{value}'", {"XLA_FLAGS": value}, device=choice)
    if device.platform != "cpu":
        yield Remedy("--device cpu", {}, device="cpu")


def find_remedy(device: Device, archs: tuple[str, ...]) -> Remedy | None:
    """Returns the first remedy with which the networks pass; None if there is none."""
    return next((remedy for remedy in remedies(device) if _helps(remedy, archs)), None)


def _helps(remedy: Remedy, archs: tuple[str, ...]) -> bool:
    changes = {
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # this process has taken most of an accelerator's memory
        "JAX_COMPILATION_CACHE_DIR": None,  # everything is compiled again
        **remedy.environment,
    }
    environment = {name: value for name, value in (os.environ | changes).items() if value is not None}
    command = [sys.executable, "-c", _PROGRAM, remedy.device, *archs]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_TIMEOUT)
        return done.returncode == 0 and json.loads(done.stdout.splitlines()[-1]) is True
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError):
        return False
