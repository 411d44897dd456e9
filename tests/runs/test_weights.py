"""Weights files: equal to their run, recognised by their arrays, refused with every fault, never unpickled."""

import dataclasses
import json
import os
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

from jaxmnist.cli.evaluate import Evaluate
from jaxmnist.cli.predict import Predict
from jaxmnist.config import get_recipe, recipe_of
from jaxmnist.data import load_dataset
from jaxmnist.errors import CheckpointError, JaxmnistWarning, UsageError
from jaxmnist.inference.evaluate import evaluate_split, splits_of
from jaxmnist.inference.export import export
from jaxmnist.interop import to_torch
from jaxmnist.interop.torch import without_wrappers
from jaxmnist.interop.weight_files import METADATA, use_metadata
from jaxmnist.runs import weights
from jaxmnist.runs.restore import restore_run
from jaxmnist.runs.weights import read_weights
from tests.conftest import FIXTURES
from tests.exported_networks import network_of
from tests.interop.test_torch import weights_of
from tests.sizes import FORMS

CPU = jax.devices("cpu")[0]
OPTIONS = {"device": "cpu", "no_compile_cache": True}


@pytest.fixture(scope="session")
def digits():
    return load_dataset("digits")


@pytest.fixture(scope="session")
def trained(tiny_run):
    return restore_run(tiny_run, "best", CPU)


@pytest.fixture(scope="session")
def file(trained, tmp_path_factory):
    """Weights and metadata of the tiny run, with the extra entries of a state_dict and of the published file."""
    path = tmp_path_factory.mktemp("weights") / "tiny.npz"
    extras = {"bn1.num_batches_tracked": np.array(44), "meta": np.array(json.dumps({"arch": "second"}))}
    extras[METADATA] = np.array(json.dumps(use_metadata("second", trained.recipe, trained.data_info)))
    arrays: dict[str, Any] = to_torch("second", trained.variables) | extras
    np.savez(path, **arrays)
    return path


def saved(path: Path, arrays) -> Path:
    np.savez(path / "changed.npz", **arrays)
    return path / "changed.npz"


@pytest.mark.parametrize("deskew", [True, False])
@pytest.mark.parametrize("arch", ["second", "flagship_small"])
def test_a_file_of_this_project_says_whether_its_images_are_made_upright_and_tilted(tmp_path, arch, deskew):
    recipe = dataclasses.replace(recipe_of(arch), deskew=deskew, tilt=4.5 * deskew)
    network = network_of(arch)._replace(recipe=recipe)
    export(network, load_dataset("digits"), ["npz"], tmp_path)
    assert read_weights(tmp_path / f"{arch}.npz", CPU).recipe == recipe
    assert read_weights(tmp_path / f"{arch}.npz", CPU, recipe="fast").recipe == get_recipe("fast")


def test_a_run_s_file_says_it_as_well(tiny_run):
    (file,) = tiny_run.glob("*.npz")
    with np.load(file) as archive:
        assert json.loads(str(archive["metadata"]))["deskew"] == "False"


def test_metadata_that_were_changed_are_refused(tiny_run, tmp_path):
    (file,) = tiny_run.glob("*.npz")
    arrays = dict(np.load(file))
    metadata = json.loads(str(arrays["metadata"]))
    assert json.loads(metadata["config"])["recipe"]["epochs"] == 2
    for name in ("deskew", "config"):
        changed = metadata | {name: metadata[name].replace("e", "E")}
        path = saved(tmp_path, arrays | {"metadata": np.array(json.dumps(changed))})
        assert "has wrong metadata (it has changed since it was written)" in refusal(path)


def test_a_variance_below_zero_is_refused(file, tmp_path):
    arrays = dict(np.load(file))
    name = next(name for name in arrays if name.endswith(".running_var"))
    arrays[name][0] = -0.01
    assert f"has variances below zero in {name}; " in refusal(saved(tmp_path, arrays))


@pytest.mark.parametrize("text", ["no JSON", "[]", '{"deskew": 1}', '{"other": "True"}'])
def test_what_another_text_says_of_it_does_not_count(file, tmp_path, text):
    arrays = dict(np.load(file)) | {"metadata": np.array(text)}
    assert read_weights(saved(tmp_path, arrays), CPU).recipe == recipe_of("second")


def refusal(path: Path, arch: str | None = None) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_weights(path, CPU, arch)
    assert caught.value.exit_code == 4
    message = str(caught.value)
    assert message.startswith(f"{path} ")
    assert message.endswith(".")
    assert "\n" not in message
    return message


def test_the_network_of_a_file_is_the_one_of_the_run_it_came_from(file, trained, digits):
    network = read_weights(file, CPU)
    assert network.arch == "second"
    assert network.recipe == dataclasses.replace(trained.recipe, epochs=recipe_of("second").epochs)
    assert network.data_info == trained.data_info
    assert (network.config, network.epoch, network.step) == (None, None, None)
    for ours, its in zip(
        network.predict(digits.test_images), trained.predict(digits.test_images), strict=True
    ):
        np.testing.assert_array_equal(ours, its)


@pytest.mark.parametrize("arch", FORMS)
def test_an_arch_is_recognised_by_the_names_and_shapes_of_its_arrays(tmp_path, arch):
    network = read_weights(saved(tmp_path, weights_of(arch)), CPU)
    assert network.arch == arch
    assert network.recipe == recipe_of(arch)


def test_a_recipe_that_is_named_decides_the_normalisation(file, digits):
    other = read_weights(file, CPU, "second", "dilated")
    assert other.recipe == get_recipe("dilated")
    own, changed = (network.predict(digits.test_images)[1] for network in (read_weights(file, CPU), other))
    assert np.abs(own - changed).max() > 1e-3
    for options, message in {
        ("forth", None): "no arch 'forth'",
        (None, "thrid"): "no recipe 'thrid'",
    }.items():
        with pytest.raises(UsageError, match=message):
            read_weights(file, CPU, *options)


def test_all_faults_are_named_relative_to_the_nearest_arch_or_the_given_one(tmp_path):
    arrays = weights_of("second")
    del arrays["bn2.bias"]
    arrays["conv1.weight"] = arrays["conv1.weight"][:, :, :2]
    path = saved(tmp_path, arrays | {"fc.weight": np.zeros((10, 12), np.float32)})
    faults = (
        "bn2.bias is missing; fc.weight is not part of it; "
        "conv1.weight has shape (8, 1, 2, 3) instead of (8, 1, 3, 3)."
    )
    assert refusal(path) == (
        f"{path} does not hold the weights of any arch; compared with the nearest, 'second': {faults}"
    )
    assert refusal(path, "second") == f"{path} does not hold the weights of arch 'second': {faults}"
    assert "skip1.weight is missing" in refusal(path, "third")


def test_tensors_beside_the_weights_are_named_as_left_over():
    message = refusal(FIXTURES / "parity" / "second.npz")
    for key in ("eval_out", "grad/bn1.bias", "grad/bn1.weight"):
        assert f" {key} is not part of it" in message
    assert re.search(r"and \d\d more\.", message)
    assert "missing" not in message
    assert "meta" not in message


def test_a_file_that_fits_two_archs_needs_one_named(file, monkeypatch):
    monkeypatch.setattr(weights, "ARCHS", ("second", "twin"))
    monkeypatch.setattr(weights, "find_faults", lambda *arguments: [])
    monkeypatch.setattr(weights, "find_num_classes", lambda *arguments: 10)
    assert "fits the archs second and twin; choose one with --arch" in refusal(file)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "has weights that are not finite in float32 in bn1.bias, bn2.bias"),
        (-np.inf, "has weights that are not finite in float32 in bn1.bias, bn2.bias"),
        (1e300, "has weights that are not finite in float32 in bn1.bias, bn2.bias"),
        (7, "has values that are not floating-point numbers in bn1.bias, bn2.bias"),
        (1j, "has values that are not floating-point numbers in bn1.bias, bn2.bias"),
    ],
)
def test_values_that_are_no_finite_floats_are_refused_with_their_arrays(tmp_path, value, message):
    arrays = weights_of("second")
    arrays |= {key: np.full(len(arrays[key]), value) for key in ("bn1.bias", "bn2.bias")}
    assert message in refusal(saved(tmp_path, arrays))


def test_a_text_in_the_place_of_weights_is_missing_weights(tmp_path):
    arrays = weights_of("second") | {"bn1.bias": np.array("none")}
    assert "'second': bn1.bias is missing." in refusal(saved(tmp_path, arrays))


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_pickled_objects_are_never_loaded(tmp_path):
    arrays = weights_of("second") | {"bn1.bias": np.array([Trap(tmp_path / "trapped")], object)}
    assert "has Python objects in bn1.bias, which are never unpickled" in refusal(saved(tmp_path, arrays))
    plain = tmp_path / "pickled.npz"
    with plain.open("wb") as stream:
        np.save(stream, arrays["bn1.bias"], allow_pickle=True)
    assert "is not a .npz file" in refusal(plain)
    assert not (tmp_path / "trapped").exists()


def test_what_is_no_archive_of_arrays_is_named_with_what_to_give(tmp_path):
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "empty.npz").touch()
    with zipfile.ZipFile(tmp_path / "text.zip", "w") as archive:
        archive.writestr("read.me", b"...")
    for name, message in {
        "missing.npz": "does not exist",
        "": "cannot be read (it is a folder)",
        "text.npz": "is not a .npz file, or is truncated",
        "empty.npz": "is not a .npz file, or is truncated",
        "text.zip": "is not a .npz file: its member read.me is not an array",
        "x" * 300: "cannot be read (File name too long)",
    }.items():
        assert f"{message}; give a .npz file made by numpy.savez from" in refusal(tmp_path / name)


def test_a_file_that_is_cut_or_changed_anywhere_is_refused(file, tmp_path):
    content = file.read_bytes()
    path = tmp_path / "damaged.npz"
    for length in range(0, len(content), 997):
        path.write_bytes(content[:length])
        refusal(path)
    start = content.index(b"NUMPY")  # of the header of the first array, which has 160 bytes
    for place in range(start, start + 150, 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        assert "cannot be read" in refusal(path)


def test_a_file_that_unpacks_to_more_than_any_network_is_refused_unread(file, tmp_path):
    with np.load(file) as archive:
        arrays: dict[str, Any] = dict(archive) | {"ballast": np.zeros(2**24, np.float32)}
    np.savez_compressed(tmp_path / "bomb.npz", **arrays)
    assert "holds more than 67,108,864 bytes" in refusal(tmp_path / "bomb.npz")


def test_without_a_run_all_training_images_train_and_unknown_figures_are_null(file, digits):
    network = read_weights(file, CPU)
    assert splits_of(network, digits) == ["train", "test"]
    figures = evaluate_split(network, digits, "train")
    assert figures.examples == 1500
    for key in ("seed", "epoch", "step", "trained_on", "data_of_run"):
        assert getattr(figures, key) is None
    with pytest.raises(UsageError, match="does not say which images were held out, so it has no split 'val'"):
        evaluate_split(network, digits, "val")


def test_an_evaluation_of_a_file_goes_to_a_folder_of_its_name_and_not_beside_it(
    file, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Evaluate(network=file, dataset="digits", **OPTIONS).run()
    out = capsys.readouterr().out
    assert "network    second, recipe second, weights of tiny.npz\n" in out
    assert "trained on" not in out
    assert "Written: evaluation/tiny/evaluation.json\n" in out
    written = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*"))
    pictures = [f"evaluation/tiny/plots/{name}.png" for name in ("confusion", "mistakes", "reliability")]
    assert written == ["evaluation/tiny/evaluation.json", *pictures]
    figures = json.loads(Path(written[0]).read_text())
    assert (figures["weights"], figures["run"], figures["checkpoint"]) == (str(file), None, None)
    assert list(file.parent.iterdir()) == [file]


def test_images_are_predicted_by_a_file_as_by_its_run(file, tiny_run, tmp_path, digits, capsys):
    Image.fromarray(digits.test_images[3]).save(tmp_path / "digit.png")
    results = []
    for network in (file, tiny_run):
        Predict(network=network, images=(tmp_path / "digit.png",), json=True, **OPTIONS).run()
        results.append(json.loads(capsys.readouterr().out))
    assert results[0]["predictions"] == results[1]["predictions"]
    assert (results[0]["weights"], results[0]["run"]) == (str(file), None)
    assert (results[1]["weights"], results[1]["run"]) == (None, str(tiny_run))


def test_options_of_the_other_kind_of_network_are_refused(file, tiny_run):
    with pytest.raises(UsageError, match="is a weights file, not a run; leave out --checkpoint"):
        Evaluate(network=file, checkpoint="latest", **OPTIONS).run()
    for option in ("arch", "recipe"):
        with pytest.raises(UsageError, match=f"is a run, which has its own {option}; leave out --{option}"):
            Evaluate(network=tiny_run, **{option: "second"}, **OPTIONS).run()


def test_the_published_checkpoint_has_its_published_errors_and_loss(mnist_dir, published_weights):
    network = read_weights(published_weights, CPU)
    figures = evaluate_split(network, load_dataset("mnist", mnist_dir), "test")
    assert (figures.arch, figures.errors, figures.examples) == ("dilated", 45, 10_000)
    assert figures.loss == pytest.approx(0.0181906, abs=5e-8)


@pytest.mark.parametrize("words", ["module.", "_orig_mod.", "model.", "net.", "model._orig_mod.module."])
def test_a_word_before_every_name_is_left_out_and_said(file, tmp_path, words):
    arrays = {name: array for name, array in np.load(file).items() if array.dtype.kind == "f"}
    path = saved(
        tmp_path, {words + name: array for name, array in arrays.items()} | {"n_averaged": np.array(3)}
    )
    with pytest.warns(
        JaxmnistWarning, match=f"^the names in {re.escape(str(path))} begin with '.*{words[-4:]}'"
    ):
        network = read_weights(path, CPU)
    assert network.arch == "second"
    for ours, its in zip(
        *(jax.tree.leaves(of.variables) for of in (network, read_weights(file, CPU))), strict=True
    ):
        np.testing.assert_array_equal(ours, its)


def test_a_word_before_some_names_only_is_a_fault(file, tmp_path):
    arrays = {name: array for name, array in np.load(file).items() if array.dtype.kind == "f"}
    arrays["module.bn1.weight"] = arrays.pop("bn1.weight")
    assert "module.bn1.weight is not part of it" in refusal(saved(tmp_path, arrays))


def test_compiled_parts_have_their_names_without_the_compiler_s_word():
    names = ("conv1._orig_mod.weight", "conv2.weight", "bn1.num_batches_tracked")
    arrays, left_out = without_wrappers({name: np.ones(1) for name in names})
    assert (set(arrays), left_out) == ({"conv1.weight", "conv2.weight"}, "_orig_mod.")


def test_an_exported_safetensors_file_loads_like_the_npz_file(trained, digits, tmp_path):
    export(trained, digits, ["npz", "safetensors"], tmp_path)
    one, other = (read_weights(tmp_path / f"second.{kind}", CPU) for kind in ("npz", "safetensors"))
    assert other._replace(variables=None) == one._replace(variables=None)
    jax.tree.map(np.testing.assert_array_equal, other.variables, one.variables)


@pytest.mark.parametrize("content", [b"\x07" + bytes(7) + b"{}", b"\xff" * 8 + b"{", bytes(8) + b"{}"])
def test_a_damaged_safetensors_file_is_refused(tmp_path, content):
    (tmp_path / "x.safetensors").write_bytes(content)
    assert "cannot be read as safetensors" in refusal(tmp_path / "x.safetensors")


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_file_of_pytorch_is_refused_with_two_lines_that_convert_it(tmp_path, is_zip):
    path = tmp_path / "net.pth"
    if is_zip:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("net/data.pkl", pickle.dumps(_Bomb()))
    else:
        path.write_bytes(pickle.dumps(_Bomb(), protocol=2))
    message = refusal(path)
    assert (
        "; give the net.npz that these two lines make of it there: state = torch.load('net.pth', " in message
    )
    lines = message.partition("there: ")[2].removesuffix(".").split("; ")
    assert len(lines) == 2
    for line in lines:
        compile(line, "", "exec")


class _Bomb:
    def __reduce__(self):
        return os._exit, (1,)


def test_a_near_miss_names_the_likeliest_network_and_three_differences(tmp_path):
    arrays = weights_of("challenge_final")
    # With an array in four of another shape it still has most in common with its own network, not with a small one.
    changed = {
        name: array[..., None] if i % 4 == 0 else array for i, (name, array) in enumerate(arrays.items())
    }
    message = refusal(saved(tmp_path, changed))
    assert "compared with the nearest, 'challenge_final': " in message
    listed = message.partition("'challenge_final': ")[2]
    assert len(re.findall("has shape", listed)) == 3
    assert re.search(r"; and \d+ more\.$", listed)
