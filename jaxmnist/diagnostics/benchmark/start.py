"""Time from the start of `train` to its first line of progress, and the memory of an epoch, in subprocesses."""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxmnist.config import Recipe
from jaxmnist.diagnostics.benchmark.torch_process import last_line
from jaxmnist.diagnostics.benchmark.turns import summary
from jaxmnist.errors import UsageError

IMAGES = {"train": 60_000, "t10k": 10_000}
"""Number of training and test images, as many as MNIST has."""

_PROGRESS, _PEAK = "Epoch 1/1 ", "peak memory "
_TRAIN = f"""
from jaxmnist.cli.main import main
try:
    main("train")
finally:
    from jaxmnist.diagnostics.benchmark.turns import peak_memory
    print("{_PEAK}", peak_memory())
"""


def starts(
    arch: str,
    recipe: Recipe,
    platform: str,
    repeats: int,
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, dict[str, Any]]:
    """Trains one epoch in a process, first with an empty compile cache (`cold`), then with the filled one (`warm`).

    Args:
        arch: name of the network.
        recipe: recipe of the training.
        platform: "cpu" trains there, any other platform on the device that JAX prefers.
        repeats: number of measurements of each.
        report: receives a line about progress.

    Returns:
        For `cold` and `warm`, with one number a repeat: `seconds` from the start of Python to the first line of
        progress, and `peak_memory_bytes`, the largest resident size until the process ends, plots included. From
        these the `median`, `min` and `max` of `first_progress_seconds` and `peak_megabytes`.

    Raises:
        UsageError: the training failed; the message has its last line.
    """
    rows: dict[str, dict[str, Any]] = {
        name: {"seconds": [], "peak_memory_bytes": []} for name in ("cold", "warm")
    }
    with tempfile.TemporaryDirectory() as folder:
        data, config = Path(folder, "data"), Path(folder, "config.json")
        _write_images(data)
        config.write_text(json.dumps({"arch": arch, "recipe": dataclasses.asdict(recipe) | {"epochs": 1}}))
        command = [sys.executable, "-P", "-c", _TRAIN, "--config", str(config), "--data-dir", str(data)]
        command += ["--device", "cpu" if platform == "cpu" else "auto"]
        for repeat in range(1, repeats + 1):
            with tempfile.TemporaryDirectory(dir=folder) as place:
                for name, row in rows.items():
                    seconds, peak = _measure(command, Path(place))
                    row["seconds"].append(seconds)
                    row["peak_memory_bytes"].append(peak)
                    report(f"repeat {repeat}/{repeats}: {name} {seconds:.2f} s, {peak / 1e6:,.0f} MB")
    for row in rows.values():
        row["first_progress_seconds"] = summary(row["seconds"])
        row["peak_megabytes"] = summary([size / 1e6 for size in row["peak_memory_bytes"]])
    return rows


def _measure(command: list[str], place: Path) -> tuple[float, int]:
    # This process may have taken most of an accelerator's memory.
    settings = {"JAX_COMPILATION_CACHE_DIR": str(place / "cache"), "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    began = time.perf_counter()
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            [*command, "--runs", str(place / "runs")],
            env=os.environ | settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        seconds = peak = None
        assert process.stdout is not None
        for line in process.stdout:
            if seconds is None and line.startswith(_PROGRESS):
                seconds = time.perf_counter() - began
            if line.startswith(_PEAK):
                peak = int(line.removeprefix(_PEAK))
        if process.wait() or seconds is None or peak is None:
            raise UsageError(
                f"the training to be measured failed ({last_line(errors)}); run it by itself with jaxmnist train."
            )
        return seconds, peak


def _write_images(folder: Path) -> None:
    """Writes the four files of MNIST with random images and labels."""
    random = np.random.default_rng(0)
    folder.mkdir()
    for split, count in IMAGES.items():
        for kind, shape, most in (("images-idx3", (count, 28, 28), 256), ("labels-idx1", (count,), 10)):
            header = np.array([0x0800 + len(shape), *shape], ">u4")
            values = random.integers(0, most, shape, np.uint8)
            (folder / f"{split}-{kind}-ubyte").write_bytes(header.tobytes() + values.tobytes())
