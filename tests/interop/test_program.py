"""A network as operations of ONNX: the same probabilities in NumPy, ONNX and StableHLO as in JAX."""

import dataclasses
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmnist.config import get_recipe
from jaxmnist.errors import UsageError
from jaxmnist.interop.onnx import run_onnx, to_onnx
from jaxmnist.interop.program import OPERATIONS, run
from jaxmnist.interop.stablehlo import run_stablehlo, to_stablehlo
from jaxmnist.interop.trace import trace
from jaxmnist.models.structure import layers
from tests.conftest import FIXTURES
from tests.exported_networks import made, network_of
from tests.sizes import FORMS

NORMS = [("evolution_v3", {"norm": "group"}), ("evolution_v2", {"norm": "layer"})]
CASES = [(arch, {}) for arch in FORMS] + NORMS


@pytest.mark.parametrize("arch", FORMS)
def test_a_program_gives_the_probabilities_that_pytorch_gave(arch):
    network = network_of(arch)
    # The images of the reference are noise around zero, without ink to move.
    recipe = dataclasses.replace(network.recipe, deskew=False, rescale=False, tilt=0.0)
    program = trace(network.model, network.variables, recipe)
    with np.load(FIXTURES / "parity" / f"{arch}.npz") as archive:
        x, outputs = archive["x"][:, 0], archive["eval_out"].astype(np.float64)
    pixels = 255 * (x * np.float32(network.recipe.std) + np.float32(network.recipe.mean))
    exponentials = np.exp(outputs)
    expected = exponentials / exponentials.sum(1, keepdims=True)
    given = run(program, pixels)
    assert given.dtype == np.float32
    np.testing.assert_allclose(given, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("arch", "overrides"), [*NORMS, ("flagship", {})])
def test_a_program_gives_the_probabilities_that_jax_gives(arch, overrides):
    network, _, images, probabilities = made(arch, **overrides)
    expected = np.exp(network.predict(images)[1])
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=2e-6)


def test_padding_of_a_program_has_the_value_it_is_given():
    padded = OPERATIONS["Pad"](np.zeros((1, 2)), np.array(-np.inf), [0, 1, 2, 0])
    assert padded.tolist() == [[-np.inf, 0, 0], *[[-np.inf] * 3] * 2]


def test_a_program_holds_the_weights_and_little_else():
    network, program, _, _ = made("third")
    weights = sum(leaf.size for leaf in jax.tree.leaves(network.variables))
    assert sum(array.size for array in program.constants.values()) < weights + 100
    assert {type(side) for step in program.steps for side in step.shape} == {int}


@pytest.mark.parametrize(("arch", "overrides"), CASES)
def test_onnx_gives_the_probabilities_of_its_network_for_any_number_of_images(arch, overrides):
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    _, program, images, expected = made(arch, **overrides)
    file = to_onnx(program, arch, {"normalisation": "inside"})
    np.testing.assert_allclose(run_onnx(file, images), expected, rtol=0, atol=2e-6)
    np.testing.assert_allclose(run_onnx(file, images[:1]), expected[:1], rtol=0, atol=2e-6)


def test_onnx_says_what_it_takes_gives_and_is():
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    session = onnxruntime.InferenceSession(to_onnx(made("second").program, "second", {"key": "value"}))
    ((given,), (result,)) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == ("images", "tensor(uint8)", ["batch", 28, 28])
    assert (result.name, result.type, result.shape) == ("probabilities", "tensor(float)", ["batch", 10])
    about = session.get_modelmeta()
    assert (about.producer_name, about.custom_metadata_map) == ("jaxmnist", {"key": "value"})


def test_without_its_package_onnx_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UsageError, match=r"onnx, which is not installed; run pip install 'jaxmnist\[onnx\]'"):
        to_onnx(made("second").program, "second", {})


@pytest.mark.parametrize(("arch", "overrides"), [("third", {}), NORMS[0]])
def test_stablehlo_gives_the_probabilities_of_its_network(arch, overrides):
    network, _, images, expected = made(arch, **overrides)
    file = to_stablehlo(network.model, network.variables, network.recipe)
    np.testing.assert_allclose(run_stablehlo(file, images), expected, rtol=0, atol=2e-6)


def test_a_fresh_process_runs_stablehlo_for_any_number_of_images_with_jax_alone(tmp_path):
    network, _, images, expected = made("second")
    (tmp_path / "file").write_bytes(to_stablehlo(network.model, network.variables, network.recipe))
    np.save(tmp_path / "images.npy", images)
    code = """
import sys, pathlib, numpy as np
from jax import export
predict = export.deserialize(bytearray(pathlib.Path("file").read_bytes())).call
images = np.load("images.npy")
np.save("all.npy", predict(images))
np.save("seven.npy", predict(images[:7]))
assert not {"jaxmnist", "flax"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=120)
    np.testing.assert_allclose(np.load(tmp_path / "all.npy"), expected, rtol=0, atol=2e-6)
    np.testing.assert_allclose(np.load(tmp_path / "seven.npy"), expected[:7], rtol=0, atol=2e-6)


def test_a_program_knows_the_value_of_every_layer():
    network, program, _, _ = made("evolution_v3")
    shapes = {step.output: step.shape for step in program.steps}
    found = layers(network.model)
    assert [shapes[value] for value in program.layers] == [(*layer.output_shape, 1) for layer in found]


def test_what_depends_on_the_weights_alone_is_computed_once():
    ops = [step.op for step in made("first").program.steps]
    # Otherwise batch normalisation would take the root of each variance again for every image.
    assert "Sqrt" not in ops
    assert ops.count("Conv") == 8


class Unknown(nn.Module):
    """A network with an operation that programs do not have."""

    @nn.compact
    def __call__(self, images):
        return jnp.sin(images.max((1, 2))) + jnp.zeros((1, 10))


def test_an_operation_that_programs_do_not_have_is_named():
    with pytest.raises(
        UsageError, match=r"computes sin in a way .* html and onnx .* export it with --format stablehlo"
    ):
        trace(Unknown(), {}, get_recipe("third"))


def test_stablehlo_takes_operations_that_programs_do_not_have():
    images = made("second").images
    file = to_stablehlo(Unknown(), {}, get_recipe("third"))
    assert run_stablehlo(file, images).shape == (len(images), 10)
