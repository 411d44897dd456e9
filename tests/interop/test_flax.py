"""Plain Flax networks in every format: those of known operations work, others are refused in a sentence."""

import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmnist.config import get_recipe
from jaxmnist.data import load_dataset
from jaxmnist.errors import UsageError
from jaxmnist.inference.export import FORMATS, export
from jaxmnist.interop.onnx import run_onnx, to_onnx
from jaxmnist.interop.program import run
from jaxmnist.interop.trace import trace
from jaxmnist.models import create_model
from jaxmnist.models.structure import layers
from jaxmnist.train.network import Network
from tests.interop import flax_networks
from tests.interop.flax_networks import Grouped, ManyLayers, Recurrent, Sine, Tutorial
from tests.interop.test_page import needs_node, predicted

CPU = jax.devices("cpu")[0]


@pytest.fixture(autouse=True, scope="module")
def promotion():
    """Flax's own layers rely on JAX's usual promotion; the package's own do not."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


def network_of(network: type[nn.Module]) -> Network:
    """A network with random weights."""
    arch = f"{flax_networks.__file__}:{network.__name__}"
    model = create_model(arch)
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    return Network(arch, model, get_recipe("third"), variables, CPU)


@pytest.mark.parametrize("flax_network", [Tutorial, ManyLayers])
def test_programs_and_onnx_give_the_probabilities_of_a_plain_flax_network(flax_network, digits):
    network, images = network_of(flax_network), digits.test_images[:32]
    program = trace(network.model, network.variables, network.recipe)
    expected = np.exp(network.predict(images)[1])
    np.testing.assert_allclose(run(program, images), expected, rtol=0, atol=2e-6)
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    file = to_onnx(program, "flax", {})
    np.testing.assert_allclose(run_onnx(file, images), expected, rtol=0, atol=2e-6)
    np.testing.assert_allclose(run_onnx(file, images[:1]), expected[:1], rtol=0, atol=2e-6)


@pytest.mark.parametrize("flax_network", [Tutorial, ManyLayers])
def test_a_plain_flax_network_is_exported_in_every_format(flax_network, digits, tmp_path):
    network = network_of(flax_network)
    formats = [name for name in FORMATS if name not in ("onnx", "torch")]
    written, _ = export(network, digits, formats, tmp_path)
    names = [f"{flax_network.__name__}.{name}" for name in formats]
    assert [made.file.name for made in written] == names
    assert all(made.difference is not None and made.difference < 1e-6 for made in written)
    card = (tmp_path / "model-card.md").read_text()
    assert card.startswith(f"# flax_networks.py:{flax_network.__name__}\n")
    assert "PyTorch" not in card


@needs_node
@pytest.mark.parametrize("flax_network", [Tutorial, ManyLayers])
def test_the_page_computes_the_probabilities_of_a_plain_flax_network(flax_network, digits, tmp_path):
    network, images = network_of(flax_network), digits.test_images[:8]
    ((page,), _) = export(network, digits, ["html"], tmp_path)
    expected = np.exp(network.predict(images)[1])
    np.testing.assert_allclose(predicted(page.file, images), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("flax_network", [Tutorial, ManyLayers])
def test_the_maps_of_a_plain_flax_network_have_channels_first(flax_network):
    network = network_of(flax_network)
    program = trace(network.model, network.variables, network.recipe)
    shapes = {step.output: step.shape for step in program.steps}
    found = [layer for layer in layers(network.model) if layer.output_shape[1] > 1]
    assert [shapes[value] for value in program.layers[: len(found)]] == [
        (*layer.output_shape, 1) for layer in found
    ]


@pytest.mark.parametrize(
    ("flax_network", "operation"), [(Sine, "sin"), (Recurrent, "scan"), (Grouped, "conv_general_dilated")]
)
def test_an_unknown_operation_is_named_whatever_the_format(flax_network, operation, digits, tmp_path):
    network = network_of(flax_network)
    message = rf"^the network computes {operation} in a way that .* export it with --format stablehlo npz\.$"
    for name in ("html", "onnx"):
        with pytest.raises(UsageError, match=message):
            export(network, digits, [name], tmp_path)
    assert list(tmp_path.iterdir()) == []
    written, about = export(network, digits, ["stablehlo", "npz", "safetensors"], tmp_path)
    assert all(made.difference is not None and made.difference < 1e-6 for made in written)
    assert json.loads((tmp_path / "export.json").read_text())["network"] == json.loads(
        json.dumps(about.as_json())
    )
