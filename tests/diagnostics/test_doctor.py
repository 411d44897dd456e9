"""Tests of the doctor: right numbers pass, wrong ones are noticed and fixed if possible, all facts are reported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxmnist import ops
from jaxmnist.cli import main as cli
from jaxmnist.diagnostics.doctor import QUICK, numerics, reference, remedies, survey
from jaxmnist.interop.torch import shapes_of
from jaxmnist.models import ARCHS
from jaxmnist.train.jit import build_programs

CPU = jax.devices("cpu")[0]
SCRIPT = Path(__file__).parents[2] / "scripts" / "doctor.py"


@pytest.fixture
def anew():
    """Isolates the programs traced in this test from those of other tests."""
    build_programs.cache_clear()
    yield
    build_programs.cache_clear()


@pytest.fixture
def call(monkeypatch, capsys):
    """Runs the command in this process; returns exit code, standard output, standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["doctor", "--no-compile-cache", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main("doctor")
        return end.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def fails(monkeypatch):
    """Makes every network's gradient wrong by more than rounding."""

    def check(arch, device):
        return numerics.Check(arch, {"outputs": 0.0, "gradient": 1e-4}, "conv1.weight")

    monkeypatch.setattr(numerics, "check", check)


OF_EACH_KIND = ("evolution_v1", "third", "challenge_ll", "flagship", "flagship_small")


@pytest.mark.parametrize(
    "arch",
    [
        arch if arch in OF_EACH_KIND else pytest.param(arch, marks=pytest.mark.battery)
        for arch in reference.archs()
    ],
)
def test_the_numbers_are_far_within_the_tolerances_here(arch):
    found = numerics.check(arch, CPU)
    assert found.passed
    assert set(found.errors) >= {"outputs", "loss", "gradient"}
    # A tenth leaves room for machines with other rounding.
    assert all(error < numerics.TOLERANCES[kind] / 10 for kind, error in found.errors.items())


def test_a_network_has_stored_numbers_of_sound_size():
    images, labels = reference.batch()
    assert (images.shape, images.dtype, set(labels)) == ((64, 28, 28), np.uint8, set(range(10)))
    assert reference.reference("step3").projections.keys() == shapes_of("step3").keys()
    for arch in reference.archs():
        stored = reference.reference(arch)
        np.testing.assert_allclose(np.exp(stored.outputs).sum(1), 1, atol=1e-6)
        # Gradients neither vanish nor explode.
        gradients = [values for key, values in stored.projections.items() if "running" not in key]
        assert all(1e-4 < np.abs(values).max() < 10 for values in gradients), arch
    assert reference.FILE.stat().st_size < 200_000


def test_weights_are_made_by_the_formula_whatever_the_version_of_numpy():
    kernel = reference.weight("third", "conv2.weight", (14, 10, 3, 3))
    assert kernel.dtype == np.float32
    np.testing.assert_allclose(kernel.std(), 1 / np.sqrt(90), rtol=0.05)
    assert abs(kernel.mean()) < 0.01
    assert kernel.ravel()[:3].tolist() == WEIGHTS


WEIGHTS = [-0.060533080250024796, 0.022703809663653374, -0.037837475538253784]


@pytest.mark.parametrize("size", [1, 9, 1000])
def test_an_error_in_any_element_moves_every_projection(size):
    values = np.zeros(size)
    for position in range(0, size, 7):
        values[position] = 1
        np.testing.assert_allclose(np.abs(reference.project("conv1.weight", values)), size**-0.5)
        values[position] = 0


@pytest.mark.usefixtures("anew")
def test_a_gradient_that_is_a_little_wrong_is_noticed(monkeypatch):
    wrong = jax.custom_vjp(lambda x: x)
    wrong.defvjp(lambda x: (x, None), lambda _, dy: (dy * np.float32(1.01),))
    right = ops.max_pool2
    monkeypatch.setattr(ops, "max_pool2", lambda x: wrong(right(x)))
    found = numerics.check("evolution_v1", CPU)
    assert not found.passed
    assert found.errors["outputs"] < numerics.TOLERANCES["outputs"]
    assert found.errors["gradient"] > numerics.TOLERANCES["gradient"]
    assert found.worst is not None
    assert found.worst.endswith(".weight")


@pytest.mark.parametrize(("wrong", "kind"), [(1e-4, "outputs"), (np.nan, "outputs"), (np.inf, "loss")])
def test_a_wrong_number_is_noticed_and_one_that_is_not_finite_is_no_rounding(monkeypatch, wrong, kind):
    stored = reference.reference("evolution_v1")
    weights = {
        key: reference.weight("evolution_v1", key, shape) for key, shape in shapes_of("evolution_v1").items()
    }
    outputs = stored.outputs.copy()
    outputs[3, 4] += wrong if kind == "outputs" else 0
    loss = stored.loss + (wrong if kind == "loss" else 0)
    monkeypatch.setattr(numerics, "_run", lambda *_: (outputs, loss, weights))
    found = numerics.check("evolution_v1", CPU)
    assert not found.passed
    assert found.errors[kind] == (pytest.approx(wrong, rel=0.01) if wrong < 1 else np.inf)
    # A gradient of zero is an error, too.
    assert found.errors["gradient"] > 100 * numerics.TOLERANCES["gradient"]


def test_all_facts_are_in_one_json_object(call, tmp_path, mnist_dir):
    code, out, error = call("--arch", "evolution_v1", "--json", "--runs", tmp_path / "runs")
    assert code == 0, error
    facts = json.loads(out)
    assert list(facts) == ["versions", "machine", "folders", "data", "notes", "checks", "passed", "remedy"]
    assert facts["versions"]["packages"]["jax"] == jax.__version__
    assert facts["machine"]["device"] == f"{CPU.platform}: {CPU.device_kind}"
    assert facts["machine"]["environment"]["JAXMNIST_DATA_DIR"] == str(mnist_dir)
    runs = facts["folders"]["runs"]
    assert (runs["path"], runs["there"], runs["writable"]) == (str(tmp_path / "runs"), False, True)
    assert runs["free"] > 0
    assert not (tmp_path / "runs").exists()
    assert facts["data"]["source"] == f"the folder {mnist_dir / 'mnist'}"
    (check,) = facts["checks"]
    assert (check["arch"], check["passed"], check["failure"]) == ("evolution_v1", True, None)
    assert check["errors"].keys() == check["tolerances"].keys() == {"outputs", "loss", "gradient"}
    assert (facts["passed"], facts["remedy"]) == (True, None)
    assert "All numbers are right" in error


@pytest.mark.usefixtures("fails")
def test_the_first_remedy_that_helps_is_named_and_the_exit_code_is_1(call, monkeypatch, request):
    tried = []
    # Another test may have enabled the compile cache, whose deletion would be another remedy.
    folder = jax.config.values["jax_compilation_cache_dir"]
    request.addfinalizer(lambda: jax.config.update("jax_compilation_cache_dir", folder))
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=true")
    monkeypatch.setattr(
        remedies, "_helps", lambda remedy, archs: tried.append((remedy, archs)) or len(tried) == 2
    )
    code, out, error = call("--quick", "--json")
    assert code == 1
    flags = f"--xla_cpu_use_fusion_emitters=true {remedies.YNNPACK_OFF}"
    assert [remedy.environment for remedy, _ in tried] == [{"XLA_FLAGS": None}, {"XLA_FLAGS": flags}]
    assert {archs for _, archs in tried} == {QUICK}
    assert f"it is fixed by setting XLA_FLAGS='{flags}'." in error
    assert json.loads(out)["remedy"] == f"setting XLA_FLAGS='{flags}'"


@pytest.mark.usefixtures("fails")
def test_without_a_remedy_it_names_versions_to_install(call, monkeypatch):
    monkeypatch.setattr(remedies, "_helps", lambda *_: False)
    code, out, error = call("--arch", "third")
    assert code == 1
    assert "WRONG   outputs 0e+00  gradient 1e-04" in out
    assert "(worst: conv1.weight)" in out
    assert "error: 1 of 1 networks compute wrong numbers on" in error
    assert "install the versions of constraints.txt" in error


def test_a_setting_that_breaks_the_arithmetic_is_found_by_doing_without_it(tmp_path):
    command = [sys.executable, SCRIPT, "--arch", "second", "--device", "cpu", "--runs", tmp_path]
    settings = os.environ | {"XLA_FLAGS": "--xla_disable_all_hlo_passes=true"}
    settings |= {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, env=settings, timeout=300)
    assert done.returncode == 1, done.stderr
    assert "second          FAILED" in done.stdout
    assert "it is fixed by unsetting XLA_FLAGS." in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_mnist_is_reported_without_a_download(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("JAXMNIST_DATA_DIR", raising=False)
    monkeypatch.setattr("jaxmnist.data.tfds.download", lambda *_: pytest.fail("it was downloaded"))
    found = survey.data()
    assert (found["source"], found["damaged"]) == (None, False)
    assert (
        "mnist is not on this machine (tried JAXMNIST_DATA_DIR (not set), the TensorFlow" in found["reason"]
    )
    assert "t10k-labels-idx1-ubyte" in found["reason"]


def test_every_problem_has_a_note(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("JAXMNIST_DATA_DIR", str(tmp_path))
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"<html>")
    monkeypatch.setattr(survey, "_lowest_versions", lambda: {"jax": "99.1", "numpy": "1.0"})
    facts = {
        "versions": survey.versions(),
        "folders": survey.folders(tmp_path / "file"),
        "data": survey.data(),
    }
    facts["folders"]["compile cache"]["free"] = 5_000_000
    outdated, cache, runs, data = survey.notes(facts)
    assert outdated == (
        f"jax is {jax.__version__}, below the lowest supported version 99.1; "
        "install the versions of constraints.txt."
    )
    assert "has 5 MB left" in cache
    assert runs == "the folder for runs is not writable; name another one with --runs."
    assert "has no train-labels-idx1-ubyte" in data


def test_quick_and_a_single_network_exclude_each_other(call):
    assert call("--quick", "--arch", "third")[0] == 2
    assert "did you mean 'third'" in call("--arch", "thrid")[2]


def test_a_network_without_reference_numbers_is_refused(call):
    code, _, error = call("--arch", "my_net.py:Net")
    assert code == 2
    assert "doctor has no reference numbers for --arch my_net.py:Net; choose one of first, second" in error
    assert set(reference.archs()) <= set(ARCHS)
