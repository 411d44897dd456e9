"""The process of `jaxmnist.diagnostics.pytorch`, which does with PyTorch what JAX is measured at.

Two thread pools in one process would fight for the cores; this one waits for a line while JAX computes.
"""

import contextlib
import dataclasses
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from typing import IO, Any

from jaxmnist.config import Recipe
from jaxmnist.errors import UsageError

TORCH_ARCHS = ("first", "second", "third", "dilated")
"""Networks that `jaxmnist.diagnostics.pytorch` has."""

SETTLE_SECONDS = 0.2
"""Pause after PyTorch's turn: OpenMP's threads spin for a while before they sleep, on JAX's cores by then."""


class TorchProcess:
    """Starts the process; as a context manager, ends it.

    Args:
        arch: name of the network.
        recipe: batch size, optimizer, augmentation, mean and standard deviation.
        images: number of images that batches are taken from.
        platform: JAX's; the comparison is one of CPUs.

    Raises:
        UsageError: PyTorch is missing or broken, it has no such network here, or JAX does not use the CPU.
    """

    facts: dict[str, Any]
    """What answers: `version`, `threads`, `parameters`, `transforms` (torchvision where it is installed, else
    Pillow), and what it found to be fastest, as far as it has been asked: `workers` of the DataLoader,
    `evaluation_workers` of the one without augmentation, and the `evaluation_batch`."""

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
        fields = ("batch_size", "optimizer", "learning_rate", "momentum", "weight_decay", "mean", "std")
        setup = {
            "arch": arch,
            "images": images,
            "augmentation": dataclasses.asdict(recipe.augmentation),
            **{field: getattr(recipe, field) for field in fields},
        }
        self.peak_memory = 0
        # A file, as a pipe that nobody reads would fill up and stop the process.
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        # With -P: files of the folder that this runs in must not shadow modules.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "jaxmnist.diagnostics.pytorch.program", json.dumps(setup)],
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

    def task(self, name: str) -> "TorchTask":
        """One of the tasks of `jaxmnist.diagnostics.pytorch.program` as something to measure."""
        return TorchTask(self, name)

    def measure(self, task: str, count: int, untimed: int) -> float:
        """Seconds that a task takes with that count, by the clock of that process, once it was done `untimed` times."""
        with contextlib.suppress(BrokenPipeError):  # the process is gone: what it said last is raised below
            print(json.dumps([task, count, untimed]), file=self._process.stdin, flush=True)
        answer = self._answer()
        self.peak_memory = answer["peak_memory_bytes"]
        self.facts |= answer["choices"]
        time.sleep(SETTLE_SECONDS)
        return answer["seconds"]

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise UsageError(
                f"PyTorch's process ended early ({last_line(self._errors)}); repair the installation in "
                f"{sys.executable}, or leave out --torch."
            )
        return json.loads(line)


class TorchTask:
    """A task of that process, to be measured in turn with others."""

    def __init__(self, process: TorchProcess, name: str) -> None:
        self._process, self._name = process, name

    def measure(self, count: int, untimed: int = 0) -> float:
        """Seconds that the task takes with that count, once it was done `untimed` times."""
        return self._process.measure(self._name, count, untimed)

    def peak_memory(self) -> int:
        """Largest resident size of the process in bytes, as of its last turn."""
        return self._process.peak_memory


def last_line(errors: IO[bytes]) -> str:
    """What a process that failed said last, from the file that took its standard error."""
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no message"
