"""Weights files: arrays under PyTorch's names, with metadata."""

import io
import json
from collections.abc import Mapping

import numpy as np

METADATA = "metadata"
"""Name of the metadata in a `.npz` file: a JSON object of texts."""


def to_safetensors(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """Returns the contents of a safetensors file; the metadata are in its header."""
    from safetensors.numpy import save

    return save(dict(arrays), dict(metadata))


def to_npz(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """Returns the contents of a `.npz` file; `jaxmnist.runs.weights.read_weights` reads it."""
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays, **{METADATA: np.array(json.dumps(dict(metadata)))})
    return file.getvalue()
