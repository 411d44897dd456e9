"""A trained network as files that other programs take, each run against JAX before it is left behind."""

import hashlib
import importlib.metadata
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from jaxmnist.data import NUM_CLASSES, Dataset
from jaxmnist.errors import JaxmnistError, UsageError, unknown_name
from jaxmnist.inference.description import Description, describe
from jaxmnist.inference.model_card import CardFile, model_card
from jaxmnist.interop.browser import Sample, read_program, to_html
from jaxmnist.interop.onnx import run_onnx, to_onnx
from jaxmnist.interop.program import run, trace
from jaxmnist.interop.stablehlo import run_stablehlo, to_stablehlo
from jaxmnist.interop.torch import from_torch, to_torch
from jaxmnist.interop.weight_files import from_safetensors, to_npz, to_safetensors
from jaxmnist.models.structure import layers
from jaxmnist.runs.folder import write_json
from jaxmnist.runs.weights import DESKEW, read_weights
from jaxmnist.train.network import Network

CHECKED_IMAGES = 100
LARGEST_DIFFERENCE = 1e-4
"""Of a probability: more of it and nothing is exported."""

CARD, MANIFEST = "model-card.md", "export.json"


class Exported(NamedTuple):
    """A file that was written and verified."""

    format: str
    file: Path
    difference: float
    """Largest difference of a probability from JAX's, over `CHECKED_IMAGES` test images."""


class ExportError(JaxmnistError):
    """A file does not compute what JAX computes; it is not kept. Exit code 1."""


class _Format(NamedTuple):
    make: Callable[[Network, Dataset, Description], bytes]
    """Returns the contents of the file."""
    run: Callable[[Network, Path, np.ndarray], np.ndarray]
    """Probabilities that the file gives for images."""


def export(
    network: Network, dataset: Dataset, formats: Sequence[str], out: Path
) -> tuple[list[Exported], Description]:
    """Writes a network to files named after its arch, a model card and a list of it all.

    Every file is run on test images and compared with JAX first; either all files appear or none.

    Args:
        network: the network.
        dataset: evaluates the network, and is what the files are verified with.
        formats: some of `FORMATS`.
        out: folder of the files; those of an earlier export are replaced.

    Returns:
        The files, and the network's description.

    Raises:
        UsageError: there is no such format, the network or this machine cannot have it, or the folder cannot be
            written to or has another file of such a name.
        ExportError: a file gives probabilities that differ from JAX's by over `LARGEST_DIFFERENCE`.
    """
    for name in formats:
        if name not in FORMATS:
            raise unknown_name("format", name, FORMATS)
    formats = list(dict.fromkeys(formats))
    names = [f"{network.arch}.{name}" for name in formats]
    try:
        earlier = _require_free(out, [*names, CARD])
        about = describe(network, dataset)
        images = dataset.test_images[:CHECKED_IMAGES]
        expected = np.exp(network.predict(images)[1])
        out.mkdir(parents=True, exist_ok=True)
        # In the same folder, so that moving a file is one step.
        with tempfile.TemporaryDirectory(prefix=".export-", dir=out) as folder:
            written = []
            for name, file_name in zip(formats, names, strict=True):
                file = Path(folder, file_name)
                file.write_bytes(_FORMATS[name].make(network, dataset, about))
                given = _FORMATS[name].run(network, file, images)
                written.append(
                    Exported(name, out / file_name, _require_same(out / file_name, given, expected))
                )
            cards = [CardFile(made.file.name, made.format, made.difference) for made in written]
            Path(folder, CARD).write_text(model_card(about, network.recipe, cards, len(images)))
            digests = {file_name: _digest(Path(folder, file_name)) for file_name in [*names, CARD]}
            # First, so that a file of ours is never taken for another's.
            write_json(out / MANIFEST, {"network": about.as_json(), "files": earlier | digests})
            for file_name in digests:
                Path(folder, file_name).replace(out / file_name)
    except OSError as error:
        message = f"{out} cannot be written to ({error.strerror}); name another folder with --out."
        raise UsageError(message) from error
    return written, about


def _require_free(out: Path, names: Sequence[str]) -> dict[str, str]:
    """Refuses to replace what is not from an earlier export, or was changed since; gives what is, by digest."""
    ours: dict[str, str] = {}
    if (out / MANIFEST).is_file():
        try:
            ours = dict(json.loads((out / MANIFEST).read_text())["files"])
        except (ValueError, KeyError, TypeError) as error:
            raise _taken(out / MANIFEST) from error
    for name in names:
        file = out / name
        if file.exists() and (not file.is_file() or ours.get(name) != _digest(file)):
            raise _taken(file)
    return ours


def _taken(file: Path) -> UsageError:
    return UsageError(
        f"{file} is not from an earlier export, or was changed since; move it away, or name another folder "
        "with --out."
    )


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _require_same(file: Path, given: np.ndarray, expected: np.ndarray) -> float:
    difference = float(np.abs(given - expected).max()) if given.shape == expected.shape else float("inf")
    # A comparison with NaN is never true.
    if not difference <= LARGEST_DIFFERENCE:
        raise ExportError(
            f"{file} is not kept, as its probabilities differ from JAX's by up to {difference:.2g} and at most "
            f"{LARGEST_DIFFERENCE:g} is allowed; choose other formats with --format."
        )
    return difference


def _metadata(about: Description) -> dict[str, str]:
    return {
        "arch": about.arch,
        "classes": ", ".join(about.classes),
        "input": "28x28 grey pixels, 0 ground, 255 ink",
        "normalisation": f"(pixel / 255 - {about.mean}) / {about.std}",
        DESKEW: str(about.deskew),
        "accuracy": about.accuracy_text,
        "training": about.training_text,
        "made_by": f"jaxmnist {importlib.metadata.version('jaxmnist')}",
    }


def _weights(network: Network, name: str) -> dict[str, np.ndarray]:
    if network.config and network.config.norm not in (None, "batch"):
        raise UsageError(
            f"{network.arch} with {network.config.norm} normalisation has no weights under PyTorch's names, as "
            f"these stand for batch normalisation; leave the format {name} out."
        )
    return to_torch(network.arch, jax.device_get(network.variables))


def _probabilities(network: Network, images: np.ndarray) -> np.ndarray:
    return np.exp(network.predict(images)[1])


def _make_html(network: Network, dataset: Dataset, about: Description) -> bytes:
    program = trace(network.model, network.variables, network.recipe)
    found = [np.flatnonzero(dataset.test_labels == label)[:1] for label in range(NUM_CLASSES)]
    indices = np.concatenate(found)
    images, labels = dataset.test_images[indices], dataset.test_labels[indices]
    shares = _probabilities(network, images)
    samples = [Sample(int(label), *pair) for label, *pair in zip(labels, images, shares, strict=True)]
    return to_html(program, layers(network.model), about.as_json(), samples).encode()


def _make_onnx(network: Network, _: Dataset, about: Description) -> bytes:
    program = trace(network.model, network.variables, network.recipe)
    return to_onnx(program, network.arch, _metadata(about))


def _make_stablehlo(network: Network, _: Dataset, about: Description) -> bytes:
    return to_stablehlo(network.model, network.variables, network.recipe)


def _run_safetensors(network: Network, file: Path, images: np.ndarray) -> np.ndarray:
    variables = from_torch(network.arch, from_safetensors(file.read_bytes()))
    return _probabilities(network._replace(variables=jax.device_put(variables, network.device)), images)


def _run_npz(network: Network, file: Path, images: np.ndarray) -> np.ndarray:
    read = read_weights(file, network.device, network.arch)
    return _probabilities(network._replace(variables=read.variables), images)


_FORMATS = {
    "html": _Format(make=_make_html, run=lambda _, file, images: run(read_program(file.read_text()), images)),
    "onnx": _Format(make=_make_onnx, run=lambda _, file, images: run_onnx(file.read_bytes(), images)),
    "stablehlo": _Format(
        make=_make_stablehlo, run=lambda _, file, images: run_stablehlo(file.read_bytes(), images)
    ),
    "safetensors": _Format(
        make=lambda network, _, about: to_safetensors(_weights(network, "safetensors"), _metadata(about)),
        run=_run_safetensors,
    ),
    "npz": _Format(
        make=lambda network, _, about: to_npz(_weights(network, "npz"), _metadata(about)), run=_run_npz
    ),
}

FORMATS: tuple[str, ...] = tuple(_FORMATS)
"""Names of all formats."""
