"""A trained network as files for other programs, each verified against JAX before it is kept."""

import importlib.metadata
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
import safetensors.numpy

from jaxmnist.config.seal import opened, sealed
from jaxmnist.data import Dataset
from jaxmnist.errors import JaxmnistError, UsageError, unknown_name, writing
from jaxmnist.inference.description import Description
from jaxmnist.inference.evaluate import evaluate_split
from jaxmnist.inference.model_card import Exported, model_card
from jaxmnist.interop.browser import Sample, read_program, to_html
from jaxmnist.interop.onnx import run_onnx, to_onnx
from jaxmnist.interop.program import run
from jaxmnist.interop.pytorch.run import run_pytorch
from jaxmnist.interop.pytorch.source import to_pytorch
from jaxmnist.interop.stablehlo import run_stablehlo, to_stablehlo
from jaxmnist.interop.torch import from_torch, to_torch
from jaxmnist.interop.trace import trace
from jaxmnist.interop.weight_files import ARCH, to_npz, to_safetensors, use_metadata
from jaxmnist.models import arch_title, arch_word, is_custom
from jaxmnist.models.structure import layers
from jaxmnist.runs.folder import write_json
from jaxmnist.runs.weights import read_weights, sealed_metadata
from jaxmnist.runtime.reading import read_json, sha256_of
from jaxmnist.train.network import Network

FORMATS = ("html", "onnx", "stablehlo", "safetensors", "npz", "torch")
"""Names of all formats."""

CHECKED_IMAGES = 100
"""Number of test images that every file is verified on."""

MOST_SAMPLES = 30
"""Most test images on a page."""

LARGEST_DIFFERENCE = 1e-4
"""Largest difference in any probability at which an export is accepted."""

_SUFFIXES = {"torch": "py"}
_WEIGHTS = ("safetensors", "npz")

CARD, MANIFEST = "model-card.md", "export.json"


class ExportError(JaxmnistError):
    """A file does not compute what JAX computes, and is not kept. Exit code 1."""


def export(
    network: Network, dataset: Dataset, formats: Sequence[str], out: Path
) -> tuple[list[Exported], Description]:
    """Writes a network to files named after its arch, with a model card and a manifest, `export.json`.

    Every file is first run on test images and compared with JAX; either all files appear or none. Without PyTorch on
    this machine, the format torch is not run. It comes with a file of weights, safetensors if no other is wanted.

    Args:
        network: the network.
        dataset: the data that the network is evaluated and the files are verified on.
        formats: some of `FORMATS`.
        out: folder of the files; those of an earlier export are replaced.

    Returns:
        The files, and the network's description.

    Raises:
        UsageError: there is no such format, the network or this machine does not support it, or the folder cannot be
            written to or holds another file of such a name.
        ExportError: a file gives probabilities that differ from JAX's by more than `LARGEST_DIFFERENCE`.
    """
    for name in formats:
        if name not in FORMATS:
            raise unknown_name("format", name, FORMATS)
    if "torch" in formats:
        _require_module(network)
        if not {*formats} & {*_WEIGHTS}:
            formats = [*formats, "safetensors"]
    names = {name: f"{arch_word(network.arch)}.{_SUFFIXES.get(name, name)}" for name in formats}
    with writing(out, "name another folder with --out"):
        earlier = _require_free(out, [*names.values(), CARD])
        about = Description(network, evaluate_split(network, dataset, "test"))
        images = dataset.test_images[:CHECKED_IMAGES]
        expected = _probabilities(network, images)
        out.mkdir(parents=True, exist_ok=True)
        # In the same folder, so that moving a file is one step.
        with tempfile.TemporaryDirectory(prefix=".export-", dir=out) as folder:
            for name, file_name in names.items():
                Path(folder, file_name).write_bytes(_make(name, about, dataset, names))
            written = []
            for name, file_name in names.items():
                try:
                    given = _run(name, Path(folder, file_name), network, images)
                except ValueError as error:
                    raise ExportError(
                        f"{out / file_name} is not kept, as it {error}; leave out {name}."
                    ) from error
                difference = None if given is None else _require_same(out / file_name, given, expected)
                written.append(Exported(name, out / file_name, difference))
            Path(folder, CARD).write_text(model_card(about, written, len(images)))
            digests = {file.name: sha256_of(file) for file in sorted(Path(folder).iterdir())}
            # The manifest comes first, so that no file of this export is ever taken for somebody else's.
            write_json(out / MANIFEST, sealed({"network": about.as_json(), "files": earlier | digests}))
            for file_name in digests:
                Path(folder, file_name).replace(out / file_name)
    return written, about


def default_formats(arch: str) -> tuple[str, ...]:
    """Returns the formats that need no extra package: all but ONNX, and torch for the networks of this package only."""
    return tuple(name for name in FORMATS if name not in ("onnx", *(["torch"] if is_custom(arch) else [])))


def _require_module(network: Network) -> None:
    """Refuses a network that has no PyTorch module."""
    if is_custom(network.arch):
        raise UsageError(
            f"{arch_title(network.arch)} is a class of your own, which jaxmnist cannot write for PyTorch; choose other "
            "formats with --format: html, onnx, stablehlo, safetensors, npz."
        )


def _require_free(out: Path, names: Sequence[str]) -> dict[str, str]:
    """Refuses to replace files that are not from an earlier export; returns the digests of those that are."""
    manifest, earlier, taken = out / MANIFEST, {}, []
    try:
        earlier = dict(opened(read_json(manifest))["files"]) if manifest.is_file() else {}
    except (ValueError, KeyError, TypeError):
        taken.append(manifest)
    for file in (out / name for name in names):
        if file.exists() and (not file.is_file() or earlier.get(file.name) != sha256_of(file)):
            taken.append(file)
    if taken:
        raise UsageError(
            f"{taken[0]} is not from an earlier export, or was changed since; move it away, or name another folder "
            "with --out."
        )
    return earlier


def _require_same(file: Path, given: np.ndarray, expected: np.ndarray) -> float:
    difference = float(np.abs(given - expected).max()) if given.shape == expected.shape else float("inf")
    # A comparison with NaN is never true.
    if not difference <= LARGEST_DIFFERENCE:
        raise ExportError(
            f"{file} is not kept, as its probabilities differ from JAX's by up to {difference:.2g} and at most "
            f"{LARGEST_DIFFERENCE:g} is allowed; choose other formats with --format."
        )
    return difference


def _probabilities(network: Network, images: np.ndarray) -> np.ndarray:
    return np.exp(network.predict(images)[1])


def _make(name: str, about: Description, dataset: Dataset, names: Mapping[str, str]) -> bytes:
    """Returns the contents of a file in a format; `names` are those of all files."""
    network, recipe = about.network, about.network.recipe
    metadata = {
        **use_metadata(network.arch, recipe, network.data_info, network.temperature),
        ARCH: about.title,
        "input": "28x28 grey pixels, 0 ground, 255 ink",
        "normalisation": f"(pixel / 255 - {recipe.mean}) / {recipe.std}",
        "accuracy": about.accuracy_text,
        "training": about.training_text,
        "made_by": f"jaxmnist {importlib.metadata.version('jaxmnist')}",
    }
    match name:
        case "html":
            program = trace(network.model, network.variables, recipe)
            samples = _samples(network, dataset)
            return to_html(program, layers(network.model), about.as_json(), samples).encode()
        case "onnx":
            program = trace(network.model, network.variables, recipe)
            return to_onnx(program, arch_word(network.arch), metadata)
        case "stablehlo":
            return to_stablehlo(network.model, network.variables, recipe)
    if network.config and network.config.norm not in (None, "batch"):
        raise UsageError(
            f"{network.arch} with {network.config.norm} normalisation has no weights under PyTorch's names, which "
            "stand for batch normalisation; leave out the formats safetensors, npz and torch."
        )
    if name == "torch":
        weights = next(names[kind] for kind in _WEIGHTS if kind in names)
        return to_pytorch(network.arch, network.model, recipe, weights).encode()
    arrays = to_torch(network.arch, jax.device_get(network.variables), len(network.data_info.classes))
    if name == "npz":
        return to_npz(arrays, sealed_metadata(metadata, network.config))
    return to_safetensors(arrays, metadata)


def _samples(network: Network, dataset: Dataset) -> list[Sample]:
    """Returns the first test image of each class; of many classes, some of them evenly spread."""
    indices = np.unique(dataset.test_labels, return_index=True)[1]
    if len(indices) > MOST_SAMPLES:
        indices = indices[np.linspace(0, len(indices) - 1, MOST_SAMPLES).round().astype(int)]
    images, labels = dataset.test_images[indices], dataset.test_labels[indices].tolist()
    return [Sample(*parts) for parts in zip(labels, images, _probabilities(network, images), strict=True)]


def _run(name: str, file: Path, network: Network, images: np.ndarray) -> np.ndarray | None:
    """Returns the probabilities that a file gives for images; None if this machine lacks the program for it."""
    match name:
        case "torch":
            return run_pytorch(file, images)
        case "html":
            return run(read_program(file.read_text()), images)
        case "onnx":
            return run_onnx(file.read_bytes(), images)
        case "stablehlo":
            return run_stablehlo(file.read_bytes(), images)
        case "npz":
            variables = read_weights(file, network.device, network.arch).variables
        case _:
            arrays = safetensors.numpy.load_file(file)
            variables = from_torch(network.arch, arrays, len(network.data_info.classes))
    return _probabilities(network._replace(variables=jax.device_put(variables, network.device)), images)
