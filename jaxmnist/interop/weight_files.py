"""Files of weights under PyTorch's names, with a text beside them that says what they are."""

import io
import json
from collections.abc import Mapping

import numpy as np

from jaxmnist.errors import CheckpointError

METADATA = "metadata"
"""Name in a `.npz` file of a text beside the weights: a JSON object of texts."""


def to_safetensors(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """The contents of a safetensors file; the metadata are in its header."""
    from safetensors.numpy import save

    return save(dict(arrays), dict(metadata))


def from_safetensors(file: bytes) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file.

    Raises:
        CheckpointError: it is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(file)
    except SafetensorError as error:
        raise CheckpointError(f"this is no safetensors file ({error}); export it again.") from error


def to_npz(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """The contents of a `.npz` file that `jaxmnist.runs.weights.read_weights` takes; `metadata` in it is JSON."""
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays, **{METADATA: np.array(json.dumps(dict(metadata)))})
    return file.getvalue()
