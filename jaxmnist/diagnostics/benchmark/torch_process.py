"""Process of `jaxmnist.diagnostics.pytorch`, which performs with PyTorch the tasks that are measured with JAX.

Two thread pools in one process would compete for the cores; this process waits for a line while JAX computes.
"""

import contextlib
import dataclasses
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from typing import IO, Any

from jaxmnist.config import Recipe
from jaxmnist.diagnostics.benchmark.turns import Measurement, Variant
from jaxmnist.errors import UsageError

TORCH_ARCHS = ("first", "second", "third", "dilated")
"""Names of the networks of `jaxmnist.diagnostics.pytorch`."""

_SETTLE_SECONDS = 0.2
"""Pause after PyTorch's turn: the threads of OpenMP spin for a while before they sleep, on cores that JAX needs."""

_FIELDS = ("batch_size", "optimizer", "learning_rate", "momentum", "weight_decay", "mean", "std")


class TorchProcess:
    """PyTorch's process, as a context manager that ends it.

    Args:
        arch: name of the network.
        recipe: batch size, optimizer, augmentation and normalisation.
        images: number of images that batches are taken from.
        platform: JAX's platform, which must be the CPU.

    Raises:
        UsageError: PyTorch is missing or broken, the network is not in `TORCH_ARCHS`, or JAX does not use the CPU.
    """

    facts: dict[str, Any]
    """`version`, `threads`, `parameters`; `pipeline_fault`, the reason to leave out the tasks of a DataLoader, or None;
    and `workers`, the fastest number of DataLoader processes, once known."""

    def __init__(self, arch: str, recipe: Recipe, images: int, platform: str) -> None:
        if importlib.util.find_spec("torch") is None:
            raise UsageError(
                f"--torch needs PyTorch, which {sys.executable} does not have; install it with pip install torch "
                "torchvision, or leave out --torch."
            )
        if arch not in TORCH_ARCHS:
            raise UsageError(f"--torch knows only the archs {', '.join(TORCH_ARCHS)}, not {arch!r}.")
        if platform != "cpu":
            raise UsageError(f"--torch compares on the CPU, not on {platform}; add --device cpu.")
        setup = {
            "arch": arch,
            "images": images,
            "augmentation": dataclasses.asdict(recipe.augmentation),
            **{field: getattr(recipe, field) for field in _FIELDS},
        }
        # A file, as a pipe that nobody reads would fill up and block the process.
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        # With -P: files of the current folder must not shadow modules.
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

    def task(self, name: str) -> Variant:
        """Returns one of the tasks of `jaxmnist.diagnostics.pytorch.program` as a variant to measure."""
        return partial(self._measure, name)

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _measure(self, task: str, count: int, untimed: int) -> Measurement:
        with contextlib.suppress(BrokenPipeError):  # the process has ended: `_answer` raises its last message
            print(json.dumps([task, count, untimed]), file=self._process.stdin, flush=True)
        answer = self._answer()
        self.facts["workers"] = answer["workers"]
        time.sleep(_SETTLE_SECONDS)
        return Measurement(answer["seconds"], answer["peak_memory_bytes"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise UsageError(
                f"PyTorch's process ended early ({last_line(self._errors)}); repair the installation in "
                f"{sys.executable}, or leave out --torch."
            )
        return json.loads(line)


def last_line(errors: IO[bytes]) -> str:
    """Returns the last line of a failed process's standard error, from the file it was written to."""
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no message"
