"""What mends wrong numbers: the check again in processes of their own, each with something suspicious left out."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax

from jaxmnist.runtime.devices import Device

YNNPACK_OFF = "--xla_cpu_experimental_ynn_fusion_type="
"""Has XLA on a CPU compute without YNNPACK, for which wrong results and crashes are on record (jax issues 39103,
39257, 40412, 37465). An XLA that does not know it ends the process."""

_TIMEOUT = 300
_HARMLESS = ("JAX_PLATFORMS", "JAX_COMPILATION_CACHE_DIR")

_PROGRAM = """
import json, sys
from jaxmnist.doctor.numerics import check
from jaxmnist.parallel import select_device
choice, *archs = sys.argv[1:]
device = select_device(choice)
print(json.dumps(all(check(arch, device).passed for arch in archs)))
"""


class Remedy(NamedTuple):
    """Something to do about wrong numbers."""

    advice: str
    """For the user, as it fits after "mended by"."""
    environment: dict[str, str | None]
    """Changes of the environment; None takes a variable away."""
    device: str = "auto"
    """For `--device`."""


def remedies(device: Device) -> Iterator[Remedy]:
    """What may help there, in the order in which it is worth trying."""
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
    """The first remedy with which the networks pass; None where none helps."""
    return next((remedy for remedy in remedies(device) if _helps(remedy, archs)), None)


def _helps(remedy: Remedy, archs: tuple[str, ...]) -> bool:
    # An accelerator's memory is this process's already, but for a part.
    environment: dict[str, Any] = (
        dict(os.environ) | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"} | remedy.environment
    )
    environment = {name: value for name, value in environment.items() if value is not None}
    # JAX reads this itself; the program compiles everything anew.
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    command = [sys.executable, "-c", _PROGRAM, remedy.device]
    try:
        done = subprocess.run(
            [*command, *archs], env=environment, capture_output=True, text=True, timeout=_TIMEOUT
        )
        return done.returncode == 0 and json.loads(done.stdout.splitlines()[-1]) is True
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError):
        return False
