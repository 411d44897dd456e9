"""Exports: verified before they are kept, described honestly, never over somebody else's files."""

import dataclasses
import json
import re
import subprocess
import sys
import tempfile
import webbrowser
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from jaxmnist.cli import main as cli
from jaxmnist.cli.demo import Demo
from jaxmnist.cli.export import Export
from jaxmnist.config import Averaging, Schedule, get_recipe
from jaxmnist.config.run import RunConfig
from jaxmnist.config.seal import opened
from jaxmnist.data import CLOTHING, load_dataset
from jaxmnist.errors import UsageError
from jaxmnist.inference import export as exporting
from jaxmnist.inference.description import Description
from jaxmnist.inference.evaluate import wilson_interval
from jaxmnist.inference.export import CARD, FORMATS, MANIFEST, ExportError, default_formats, export
from jaxmnist.inference.model_card import IN_NUMPY, model_card
from jaxmnist.interop import to_torch
from jaxmnist.models import create_model
from jaxmnist.models.layers import BANK
from jaxmnist.runs.weights import read_weights
from tests.exported_networks import CPU, network_of

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def digits():
    return load_dataset("digits")


@pytest.fixture(scope="session")
def exported(digits, tmp_path_factory):
    """A network in every format but ONNX, and the folder of the files."""
    out = tmp_path_factory.mktemp("export") / "new" / "folder"
    formats = [
        name for name in FORMATS if name not in ("onnx", "torch")
    ]  # tests/interop/test_pytorch.py has torch
    written, about = export(network_of("second"), digits, formats, out)
    return out, written, about


def test_a_manifest_that_was_changed_makes_no_file_of_an_earlier_export(digits, tmp_path):
    export(network_of("second"), digits, ["npz"], tmp_path)
    export(network_of("second"), digits, ["npz"], tmp_path)
    manifest = tmp_path / MANIFEST
    manifest.write_text(manifest.read_text().replace('"correct": ', '"correct": 1'))
    with pytest.raises(UsageError, match=r"export\.json is not from an earlier export, or was changed since"):
        export(network_of("second"), digits, ["npz"], tmp_path)


def test_all_files_appear_with_their_difference_from_jax(exported):
    out, written, _ = exported
    names = {"second.html", "second.stablehlo", "second.safetensors", "second.npz", CARD, MANIFEST}
    assert {file.name for file in out.iterdir()} == names
    for made in written:
        assert made.file.is_file()
        assert 0 <= made.difference < 1e-6
    differences = {made.format: made.difference for made in written}
    assert differences["npz"] == differences["safetensors"] == 0


def test_onnx_is_verified_as_the_others(digits, tmp_path):
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    ((made,), _) = export(network_of("second"), digits, ["onnx"], tmp_path)
    assert made.file.is_file()
    assert made.difference is not None
    assert made.difference < 1e-6


def test_weights_come_back_exactly_with_their_normalisation(exported):
    out, *_ = exported
    network = network_of("second")
    expected = to_torch("second", jax.device_get(network.variables))
    arrays = load_file(out / "second.safetensors")
    read = to_torch("second", jax.device_get(read_weights(out / "second.npz", CPU).variables))
    assert arrays.keys() == read.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(arrays[name], array)
        np.testing.assert_array_equal(read[name], array)
    with safe_open(out / "second.safetensors", "numpy") as file:
        stated = file.metadata()
    assert stated["normalisation"] == "(pixel / 255 - 0.1307) / 0.3081"
    assert (float(stated["mean"]), float(stated["std"])) == (network.recipe.mean, network.recipe.std)
    with np.load(out / "second.npz") as archive:
        assert opened(json.loads(str(archive["metadata"]))) == stated


def test_the_card_says_what_how_well_and_what_not(exported):
    out, _, about = exported
    card = (out / CARD).read_text()
    low, high = wilson_interval(about.evaluation.correct, 297)
    assert f"{about.evaluation.correct:,} of the 297 test images of digits" in card
    assert f"(95 % interval {low:.2f} to {high:.2f} %)" in card
    assert "5,048 parameters" in card
    assert "The training of these weights is not known" in card
    assert "(pixel / 255 - 0.1307) / 0.3081" in card
    assert "It always answers with one of its 10 classes" in card
    assert max(map(len, card.splitlines())) < 400


def trained_by(recipe, about):
    """Describes the network as if a run by that recipe had trained it."""
    config = RunConfig("second", recipe, "mnist", 1, "test", "")
    network = about.network._replace(recipe=recipe, config=config, epoch=1)
    return Description(network, about.evaluation)


def test_the_card_names_levers_in_words(exported):
    levers = {"schedule": Schedule(), "averaging": Averaging(0.9), "nesterov": True, "plateau": None}
    card = model_card(trained_by(dataclasses.replace(get_recipe("step1"), **levers), exported[2]), [], 100)
    assert "| schedule | kind one_cycle, warm up 0.2, start divisor 25.0, end divisor none |" in card
    assert "| averaging | decay 0.9, start epoch 0 |" in card
    assert "| nesterov | yes |" in card
    assert "| dropout | 0.1 |" in card  # the network's own, as the recipe leaves it
    assert "| plateau | none |" in card
    assert "| augmentation | none |" in card
    assert "decay on" not in card


@pytest.mark.parametrize("recipe", ["flagship", "third"])
def test_the_card_says_how_images_are_made_upright_where_they_are(recipe, exported):
    card = model_card(trained_by(get_recipe(recipe), exported[2]), [], 100)
    assert ("of an image that is made upright first" in card) == (recipe == "flagship")
    assert (IN_NUMPY["deskew"].strip() in card) == (recipe == "flagship")


def test_the_card_says_how_images_are_rescaled(exported):
    recipe = dataclasses.replace(get_recipe("flagship"), rescale=True, tilt=0.0)
    card = model_card(trained_by(recipe, exported[2]), [], 100)
    assert "of an image that is made upright and rescaled first" in card
    assert "tilt" not in card.partition("## Input and files")[2]
    names: dict = {}
    (code,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    exec(code, names)
    assert names["rescale"](names["deskew"](np.eye(28))).shape == (28, 28)


def test_the_card_says_how_images_are_tilted(exported):
    recipe = dataclasses.replace(get_recipe("third"), tilt=8.0)
    card = model_card(trained_by(recipe, exported[2]), [], 100)
    assert (
        "is the mean of three: for the image as it is, and for it tilted by 8.0 degrees to either side,"
        in card
    )
    assert IN_NUMPY["tilt"].strip() in card


def test_the_card_says_how_kernels_are_mixed(exported):
    mixed = exported[2].network._replace(model=create_model("flagship_1000"))
    card = model_card(Description(mixed, exported[2].evaluation), [], 100)
    assert "A weight `[out, in, 2, 2]` holds their shares" in card
    y, x = np.mgrid[-1:2, -1:2]
    filters = [np.full((3, 3), 1 / 3), x / 6**0.5, y / 6**0.5, (x**2 + y**2 - 4 / 3) / 2]
    np.testing.assert_allclose(BANK.reshape(4, 3, 3), filters, atol=1e-6)


def test_wilson_intervals_are_those_of_the_tables():
    # Agresti and Coull 1998, and the formula by hand.
    assert wilson_interval(0, 10) == pytest.approx((0, 27.7533), abs=1e-3)
    assert wilson_interval(5, 10) == pytest.approx((23.6593, 76.3407), abs=1e-3)
    assert wilson_interval(10, 10) == pytest.approx((72.2467, 100), abs=1e-3)
    assert wilson_interval(9955, 10000) == pytest.approx((99.3982, 99.6636), abs=1e-3)


@pytest.mark.parametrize("wrong", [2e-4, np.nan])
def test_a_file_that_differs_from_jax_is_not_kept(wrong, digits, tmp_path, monkeypatch):
    run = exporting.run_stablehlo
    monkeypatch.setattr(
        exporting, "run_stablehlo", lambda file, images: run(file, images) + np.float32(wrong)
    )
    (tmp_path / "other.txt").touch()
    with pytest.raises(
        ExportError, match=r"second\.stablehlo is not kept.* by up to (0\.0002|nan) "
    ) as caught:
        export(network_of("second"), digits, ["npz", "stablehlo"], tmp_path)
    assert caught.value.exit_code == 1
    assert [file.name for file in tmp_path.iterdir()] == ["other.txt"]


def test_files_of_others_are_never_replaced_and_those_of_an_earlier_export_are(digits, tmp_path):
    network = network_of("second")
    (tmp_path / "second.npz").write_text("mine")
    with pytest.raises(UsageError, match=r"second\.npz is not from an earlier export.* with --out"):
        export(network, digits, ["npz"], tmp_path)
    assert (tmp_path / "second.npz").read_text() == "mine"
    assert [file.name for file in tmp_path.iterdir()] == ["second.npz"]
    (tmp_path / "second.npz").unlink()
    for _ in range(2):
        export(network, digits, ["npz"], tmp_path)
    # From then on the manifest lists the files of both exports.
    export(network, digits, ["safetensors"], tmp_path)
    export(network, digits, ["npz"], tmp_path)
    (tmp_path / CARD).write_text("mine")
    with pytest.raises(UsageError, match=r"model-card\.md is not from an earlier export"):
        export(network, digits, ["npz"], tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"cannot be written \(.* with --out"):
        export(network, digits, ["npz"], tmp_path / "file")


def test_networks_without_batch_normalisation_have_no_pytorch_names(digits, tmp_path):
    network = network_of("evolution_v3", norm="group")
    config = RunConfig("evolution_v3", network.recipe, "digits", 1, "val", digits.fingerprint, norm="group")
    network = network._replace(config=config)
    with pytest.raises(
        UsageError, match=r"with group normalisation .* leave out the formats safetensors, npz and torch"
    ):
        export(network, digits, ["npz"], tmp_path)


def test_unsupported_formats_get_the_list(tiny_run, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["jaxmnist", str(tiny_run), "--format", "onyx"])
    with pytest.raises(SystemExit) as end:
        cli.main("export")
    assert end.value.code == 2
    assert (
        "there is no format 'onyx' (did you mean 'onnx'?); choose one of html, onnx"
        in capsys.readouterr().err
    )


def test_a_run_is_exported_into_its_folder(tiny_run, tmp_path):
    command = [sys.executable, ROOT / "scripts" / "export.py", tiny_run, "--format", "safetensors", "--json"]
    out = tmp_path / "out"
    done = subprocess.run(
        [*command, "--out", out, "--device", "cpu"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["run"] == str(tiny_run)
    assert [file["difference"] for file in result["files"]] == [0]
    assert result["network"]["trained_on"] == "digits"
    card = Path(result["model_card"]).read_text()
    assert "Trained with jaxmnist on the training images of digits by the recipe 'second" in card
    assert "| epochs | 2 |" in card
    assert "| augmentation | rotation 8.0, rotation fill 1, translation 0.1, interpolation nearest |" in card
    assert "| schedule | none |" in card
    assert "| nesterov | no |" in card
    assert Export(network=tiny_run).format == ()
    assert default_formats("second") == ("html", "stablehlo", "safetensors", "npz", "torch")
    assert default_formats("net.py:Net") == ("html", "stablehlo", "safetensors", "npz")


@pytest.mark.parametrize("opens", [True, False])
def test_demo_opens_the_page_and_says_where_it_is(opens, tiny_run, monkeypatch, capsys, tmp_path):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or opens)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    Demo(network=tiny_run, device="cpu").run()
    (page,) = tmp_path.glob("jaxmnist-*/second.html")
    assert opened == [page.as_uri()]
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == str(page)
    assert ("No browser could be started here" in printed) != opens


def test_fashion_is_drawn_larger_and_named_in_words(digits, tmp_path):
    network = network_of("second")
    config = RunConfig("second", network.recipe, "fashion_mnist", 1, "test", "", classes=CLOTHING)
    network = network._replace(config=config, data_info=config.data_info)
    ((page,), about) = export(network, digits, ["html"], tmp_path)
    assert about.classes[9] == "ankle boot"
    assert "recipe 'second' with seed 1" in about.training_text
    assert "was trained on other data: fashion_mnist" in about.accuracy_text
    assert '"side": 28' in page.file.read_text()


def test_the_card_quotes_names_that_mean_ill_as_text(exported):
    _, written, about = exported
    names = ("<img src=x>", "a | b", "`c`\n# d", "[e](http://evil.example)", *map(str, range(6)))
    info = dataclasses.replace(about.network.data_info, dataset="/data/*evil*\u202e", classes=names)
    evaluation = dataclasses.replace(about.evaluation, dataset="<b>data</b>")
    network = about.network._replace(data_info=info)
    card = model_card(dataclasses.replace(about, network=network, evaluation=evaluation), written, 100)
    for text in (
        r"\<img src=x\>",
        r"| a \| b |",
        r"\`c\`\\n\# d",
        r"\[e\](http\://evil.example)",
        r"\<b\>data\</b\>",
    ):
        assert text in card
    assert "\u202e" not in card
    assert "\n# d" not in card
