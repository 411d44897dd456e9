"""The process in which `jaxmnist.benchmark_torch` takes PyTorch's training steps, as JAX's counterpart.

Two thread pools in one process would fight for the cores; this one waits for a line while JAX computes.
"""

import contextlib
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

from jaxmnist.errors import UsageError
from jaxmnist.recipes import Recipe

TORCH_ARCHS = ("first", "second", "third")
"""Networks that `jaxmnist.benchmark_torch` has."""

SETTLE_SECONDS = 0.2
"""Pause after PyTorch's turn: OpenMP's threads spin for a while before they sleep, on JAX's cores by then."""


class TorchProcess:
    """Starts the process; as a context manager, ends it.

    Args:
        arch: name of the network.
        recipe: batch size, optimizer, mean and standard deviation; nothing is augmented.
        images: number of images that batches are taken from.
        platform: JAX's; the comparison is one of CPUs.

    Raises:
        UsageError: PyTorch is missing or broken, it has no such network here, or JAX does not use the CPU.
    """

    trace_seconds: float | None = None
    compile_seconds: float | None = None
    facts: dict[str, Any]
    """What answers: `version`, `threads`, `parameters`, `data`."""

    def __init__(self, arch: str, recipe: Recipe, images: int, platform: str) -> None:
        if importlib.util.find_spec("torch") is None:
            raise UsageError(
                f"--torch needs PyTorch, which {sys.executable} does not have; "
                "install it with pip install torch, or leave out --torch."
            )
        if arch not in TORCH_ARCHS:
            raise UsageError(f"--torch knows only the archs {', '.join(TORCH_ARCHS)}, not {arch!r}.")
        if platform != "cpu":
            raise UsageError(f"--torch compares on the CPU, not on {platform}; add --device cpu.")
        setup = {
            "arch": arch,
            "images": images,
            "batch_size": recipe.batch_size,
            "learning_rate": recipe.learning_rate,
            "momentum": recipe.momentum,
            "mean": recipe.mean,
            "std": recipe.std,
        }
        self._peak_memory = 0
        # A file, as a pipe that nobody reads would fill up and stop the process.
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        # By its path and with -P: the file needs nothing of jaxmnist, nor may its neighbours shadow modules.
        program = Path(__file__).with_name("benchmark_torch.py")
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(program), json.dumps(setup)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        try:
            self.facts = self._answer()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "TorchProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def measure(self, steps: int) -> float:
        """Seconds that so many steps take, by the clock of that process."""
        with contextlib.suppress(BrokenPipeError):  # the process is gone: what it said last is raised below
            print(steps, file=self._process.stdin, flush=True)
        answer = self._answer()
        self._peak_memory = answer["peak_memory_bytes"]
        time.sleep(SETTLE_SECONDS)
        return answer["seconds"]

    def peak_memory(self) -> int:
        """Largest resident size of that process in bytes, as of its last turn."""
        return self._peak_memory

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            words = self._errors.read().decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
            raise UsageError(
                f"PyTorch's process ended early ({words[0]}); repair the installation in {sys.executable}, "
                "or leave out --torch."
            )
        return json.loads(line)
