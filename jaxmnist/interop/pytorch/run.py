"""Runs an exported PyTorch file, in a process of its own: PyTorch's threads and JAX's would compete for the cores."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from jaxmnist.errors import shortened

_WITHOUT_PYTORCH = 3
_PROGRAM = f"""
import io, runpy, sys
try:
    import numpy, torch
except Exception:
    sys.exit({_WITHOUT_PYTORCH})
file = runpy.run_path(sys.argv[1])
images = torch.from_numpy(numpy.load(io.BytesIO(sys.stdin.buffer.read())))
with torch.inference_mode():
    probabilities = file["probabilities"](file["load"](), images)
numpy.save(sys.stdout.buffer, probabilities.numpy())
"""


def run_pytorch(
    file: Path, images: UInt8[np.ndarray, "batch 28 28"]
) -> Float32[np.ndarray, "batch classes"] | None:
    """Returns the probabilities that a file of `jaxmnist.interop.pytorch.source` gives; None without PyTorch.

    Raises:
        ValueError: PyTorch fails on the file; the message is a predicate.
    """
    sent = io.BytesIO()
    np.save(sent, images)
    # With -P: files of the current folder must not shadow modules.
    command = [sys.executable, "-P", "-c", _PROGRAM, str(file)]
    done = subprocess.run(command, input=sent.getvalue(), capture_output=True, check=False)
    if done.returncode == _WITHOUT_PYTORCH:
        return None
    if done.returncode:
        reason = (done.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise ValueError(f"cannot be run in PyTorch ({shortened(reason)})")
    return np.load(io.BytesIO(done.stdout))
