"""Networks with the fixtures' weights, their programs and pages; each is made once."""

import functools
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmnist.config import recipe_of
from jaxmnist.data import load_dataset
from jaxmnist.interop import from_torch
from jaxmnist.interop.browser import Sample, to_html
from jaxmnist.interop.program import Program, run
from jaxmnist.interop.trace import trace
from jaxmnist.models import count_params, create_model
from jaxmnist.models.structure import layers
from jaxmnist.train.network import Network
from tests.conftest import FIXTURES

CPU = jax.devices("cpu")[0]


class Made(NamedTuple):
    """A network, its program, a few real digits, and their probabilities by the program in NumPy."""

    network: Network
    program: Program
    images: np.ndarray
    probabilities: np.ndarray


@functools.cache
def network_of(arch: str, **overrides: Any) -> Network:
    """Returns a network with the fixtures' weights; with overrides its weights are initial ones."""
    model = create_model(arch, **overrides)
    if overrides:
        variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    else:
        kinds = ("weight", "bias", "running_mean", "running_var")
        with np.load(FIXTURES / "parity" / f"{arch}.npz") as archive:
            keys = [key for key in archive.files if key.split(".")[-1] in kinds and "/" not in key]
            arrays = {key: archive[key] for key in keys}
        variables = jax.device_put(from_torch(arch, arrays), CPU)
    return Network(arch, model, recipe_of(arch), variables, CPU)


@functools.cache
def made(arch: str, **overrides: Any) -> Made:
    """Returns the program of `network_of`, run on a few digits."""
    network = network_of(arch, **overrides)
    images = load_dataset("digits").test_images[:32]
    program = trace(network.model, network.variables, network.recipe)
    return Made(network, program, images, run(program, images))


def write_page(arch: str, folder: Path, **changes: Any) -> Path:
    """Writes the page of `made(arch)`; `changes` replace parts of the description, `classes` sets their number too."""
    classes = changes.get("classes", "0123456789")
    network, program, images, expected = made(
        arch, **({"num_classes": len(classes)} if "classes" in changes else {})
    )
    about = {
        "arch": arch,
        "parameters": count_params(network.variables),
        "classes": list(classes),
        "fit": "mnist",
        "side": 20,
        "is_digits": True,
        "mean": network.recipe.mean,
        "std": network.recipe.std,
        "deskew": network.recipe.deskew,
        "rescale": network.recipe.rescale,
        "tilt": network.recipe.tilt,
        "trained_on": None,
        "examples": 32,
        "accuracy": 12.5,
        "training_text": "Not trained.",
        "accuracy_text": "Not accurate.",
    }
    samples = [Sample(i, images[i], expected[i]) for i in range(3)]
    file = folder / f"{arch}.html"
    file.write_text(to_html(program, layers(network.model), about | changes, samples))
    return file


def data_of(page: Path) -> dict[str, Any]:
    """Returns the JSON in a page."""
    return json.loads(page.read_text().split('<script type="application/json" id="data">')[1].split("<")[0])
