"""The networks as PyTorch modules: the numbers of JAX, the names of its weights, and text that stands alone."""

import ast
import dataclasses
import runpy
import subprocess
import sys

import numpy as np
import pytest

from jaxmnist.config import get_recipe
from jaxmnist.data import load_dataset
from jaxmnist.inference.export import export
from jaxmnist.interop.pytorch.source import to_pytorch
from jaxmnist.interop.torch import shapes_of
from jaxmnist.models import create_model
from tests.conftest import FIXTURES
from tests.exported_networks import network_of
from tests.sizes import FORMS

WITHOUT = "PyTorch is not installed"
CHANGES: dict = {"deskew": True, "rescale": True, "tilt": 8.0}


def text_of(arch, changes=(), **fields):
    recipe = dataclasses.replace(get_recipe("third"), **{name: CHANGES[name] for name in changes})
    return to_pytorch(arch, create_model(arch, **fields), recipe, f"{arch}.safetensors")


def class_in(text):
    (found,) = (node for node in ast.parse(text).body if isinstance(node, ast.ClassDef))
    return found


def calls(node, name):
    return [call for call in ast.walk(node) if isinstance(call, ast.Call) and ast.unparse(call.func) == name]


class Module:
    """Stub of `torch.nn.Module`: collects its layers by name."""

    def __setattr__(self, name, layer):
        vars(self)[name] = layer


class Stub:
    """Stub of PyTorch: layers are the shapes of their arrays, as PyTorch's documentation gives them."""

    Module = Module

    @staticmethod
    def Conv2d(before, after, size, padding=0, dilation=1, bias=True):
        return {"weight": (after, before, size, size)} | ({"bias": (after,)} if bias else {})

    @staticmethod
    def BatchNorm2d(size):
        return dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (size,))

    @staticmethod
    def Linear(before, after, bias=True):
        return {"weight": (after, before)} | ({"bias": (after,)} if bias else {})

    @staticmethod
    def Dropout(rate):
        return {}


@pytest.mark.parametrize("num_classes", [10, 26])
@pytest.mark.parametrize("arch", FORMS)
def test_the_layers_have_the_names_and_shapes_of_the_weights(arch, num_classes):
    network = class_in(text_of(arch, num_classes=num_classes))
    names = {"nn": Stub, "super": lambda: type("Parent", (), {"__init__": lambda self: None})()}
    network.body = [node for node in network.body if getattr(node, "name", "") == "__init__"]
    exec(ast.unparse(network), names)
    layers = vars(names[network.name]())
    shapes = {f"{layer}.{name}": shape for layer in layers for name, shape in layers[layer].items()}
    assert shapes == shapes_of(arch, num_classes)
    # Every layer is used, once.
    used = [
        node.attr
        for node in ast.walk(class_in(text_of(arch, num_classes=num_classes)))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and node.attr in layers
    ]
    assert sorted(name for name in used if "drop" not in name) == sorted(n for n in layers if "drop" not in n)


@pytest.mark.parametrize("changes", [(), ("deskew",), ("rescale",), ("tilt",), tuple(CHANGES)])
@pytest.mark.parametrize("arch", FORMS)
def test_the_text_is_short_and_stands_alone(arch, changes):
    text = text_of(arch, changes)
    network = class_in(text)
    assert network.end_lineno is not None
    assert network.end_lineno - network.lineno < 40
    assert len(text.splitlines()) < 85 + 15 * len(changes)
    assert max(map(len, text.splitlines())) <= 110
    assert "jaxmnist" not in text
    assert "num_classes" not in text
    assert "features" not in text
    assert {name for name in CHANGES if f"def {name}" in text} == {*changes}
    compile(text, arch, "exec")
    imported = {
        node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert imported == {"pathlib", "torch", "torch.nn.functional", "numpy", "safetensors.torch"}


@pytest.mark.parametrize("arch", FORMS)
def test_dropout_is_written_where_it_has_a_rate_and_nowhere_else(arch):
    assert "ropout" not in text_of(arch, dropout=0.0)
    assert "drop" not in text_of(arch, dropout=0.0)
    network = class_in(text_of(arch, dropout=0.25))
    assert {ast.unparse(call.args[0]) for call in calls(network, "nn.Dropout")} == {"0.25"}


def test_published_rates_of_dropout_are_filled_in():
    assert "self.drop1 = nn.Dropout(0.1)\n" in text_of("evolution_v2")
    assert "self.drop2 = nn.Dropout(0.05)\n" in text_of("evolution_v2")
    assert "self.drop = nn.Dropout(0.03)\n" in text_of("third")


def test_padding_dilation_and_resize_are_those_of_the_table():
    text = text_of("dilated")
    assert "self.conv5, self.bn5 = nn.Conv2d(10, 10, 3, padding=1, dilation=2, bias=False)" in text
    assert 'F.interpolate(pooled, size=10, mode="nearest")' in text_of("third")


def test_importing_the_package_does_not_import_jax_or_pytorch():
    program = "import sys, jaxmnist.interop.pytorch; print({'jax', 'torch'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason=WITHOUT)


@pytest.mark.parametrize("arch", FORMS)
def test_outputs_gradients_and_statistics_are_those_of_the_fixtures(arch, torch, tmp_path):
    file = tmp_path / f"{arch}.py"
    file.write_text(text_of(arch, dropout=0.0))
    with np.load(FIXTURES / "parity" / f"{arch}.npz") as archive:
        tensors = {key: torch.tensor(archive[key]) for key in archive.files if key != "meta"}
    network = runpy.run_path(str(file))[class_in(file.read_text()).name]()
    network.load_state_dict({key: tensors[key] for key in shapes_of(arch)}, strict=True)
    worst = {"eval": (network.eval()(tensors["x"]) - tensors["eval_out"]).abs().max().item()}
    outputs = network.train()(tensors["x"])
    worst["train"] = (outputs - tensors["train_out"]).abs().max().item()
    torch.nn.functional.cross_entropy(outputs, tensors["y"].long()).backward()
    gradients = {name: value.grad for name, value in network.named_parameters()}
    worst["grad"] = max((gradients[name] - tensors[f"grad/{name}"]).abs().max().item() for name in gradients)
    after = network.state_dict()
    statistics = [name for name in shapes_of(arch) if "running" in name]
    worst["statistics"] = max(
        [(after[n] - tensors[f"new/{n}"]).abs().max().item() for n in statistics], default=0
    )
    print(arch, *(f"{name} {value:.1e}" for name, value in worst.items()))
    assert worst["eval"] < 2e-5
    assert worst["train"] < 2e-5
    assert worst["grad"] < 5e-5
    assert worst["statistics"] < 2e-6


@pytest.mark.parametrize(("arch", "rescale"), [("third", False), ("flagship", False), ("flagship", True)])
def test_exported_files_give_the_probabilities_of_jax(arch, rescale, torch, tmp_path):
    network = network_of(arch)
    network = network._replace(recipe=dataclasses.replace(network.recipe, rescale=rescale))
    written, _ = export(network, load_dataset("digits"), ["npz", "torch"], tmp_path)
    made = {file.format: file for file in written}
    assert made["torch"].difference is not None
    assert made["torch"].difference < 1e-6
    assert {file.name for file in tmp_path.glob(f"{arch}.*")} == {f"{arch}.npz", f"{arch}.py"}
