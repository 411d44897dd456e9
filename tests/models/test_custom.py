"""Networks of the user's own: every command works for a plain Flax module in a file outside the package."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmnist
from jaxmnist import train
from jaxmnist.cli import main as cli
from jaxmnist.config import get_recipe
from jaxmnist.errors import CheckpointError, JaxmnistWarning, UsageError
from jaxmnist.models import arch_title, arch_word, count_params, create_model
from jaxmnist.models.structure import layers, totals
from jaxmnist.optim import make_optimizer
from jaxmnist.runs.folder import read_config
from jaxmnist.runs.loop import fit
from tests.models import my_net
from tests.resealed import reseal

FILE = Path(__file__).with_name("my_net.py")


@pytest.fixture(autouse=True, scope="module")
def promotion():
    """JAX's default promotion, on which Flax's layers rely and the package's own do not."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder outside the repository that holds the file."""
    folder = tmp_path_factory.mktemp("elsewhere")
    shutil.copy(FILE, folder)
    return folder


@pytest.fixture(scope="module")
def run(place):
    """A run of two epochs on the digits."""
    classifier = jaxmnist.train_run(
        f"{place / 'my_net.py'}:CNN", dataset="digits", epochs=2, runs=place / "runs", progress=False
    )
    return classifier.path


@pytest.fixture
def call(monkeypatch, capsys):
    """Runs a command in this process; returns exit code, standard output, standard error."""

    def run(command, *arguments):
        monkeypatch.setattr(sys, "argv", [command, *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main(command)
        return end.value.code, *capsys.readouterr()

    return run


def test_a_file_s_class_is_made_with_its_fields_and_counts_its_parameters():
    model = create_model(f"{FILE}:CNN", features=4)
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    assert set(variables) == {"params", "batch_stats"}
    assert count_params(variables) == 40 + 8 + 148 + 3_152 + 170
    listed = layers(model)
    assert [layer.name for layer in listed if layer.parameters] == [
        "Conv_0",
        "BatchNorm_0",
        "Conv_1",
        "Dense_0",
        "Dense_1",
    ]
    assert listed[0].output_shape == (4, 28, 28)
    assert totals(listed).parameters == count_params(variables)
    assert totals(listed).receptive_field is None
    with pytest.raises(
        UsageError, match=r"arch 'my_net\.py:CNN' has no field 'width'; its fields are features,"
    ):
        create_model(f"{FILE}:CNN", width=3)


def test_the_class_itself_and_an_importable_module_name_the_same_network():
    images = jnp.ones((2, 28, 28, 1))
    made = [create_model(arch) for arch in (my_net.Plain, "tests.models.my_net:Plain", f"{FILE}:Plain")]
    variables = made[0].init(jax.random.key(0), images)
    outputs = [model.apply(variables, images, train=True) for model in made]
    np.testing.assert_array_equal(outputs[0], outputs[1])
    np.testing.assert_array_equal(outputs[0], outputs[2])


def test_padding_does_not_enter_the_batch_statistics_of_a_plain_flax_network():
    recipe = dataclasses.replace(get_recipe("third"), augmentation=get_recipe("step1").augmentation)
    model, optimizer = create_model(my_net.CNN, dropout=0.0), make_optimizer(recipe)
    state = jax.jit(lambda key: train.create_state(key, model, optimizer, recipe))(jax.random.key(0))
    digits = jaxmnist.load_dataset("digits")
    images, labels = jnp.asarray(digits.train_images[:6]), jnp.asarray(digits.train_labels[:6])

    def step(count, padded):
        batch = train.Batch(
            images[:padded], labels[:padded], (jnp.arange(padded) < count).astype(jnp.float32)
        )
        return train.train_step(
            state, batch, key=jax.random.key(1), model=model, optimizer=optimizer, recipe=recipe
        )

    (whole, sums), (padded, padded_sums) = step(4, 4), step(4, 6)
    assert int(padded_sums.examples) == int(sums.examples) == 4
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6),
        (whole.params, whole.batch_stats),
        (padded.params, padded.batch_stats),
    )
    moved = jax.tree.map(lambda one, other: np.abs(one - other).max(), whole.batch_stats, state.batch_stats)
    assert max(jax.tree.leaves(moved)) > 0.01


def test_a_run_goes_on_to_the_same_bytes_and_is_evaluated_predicted_and_exported(run, place, call, tmp_path):
    short = shutil.copytree(run, tmp_path / "short")
    shutil.rmtree(short / "checkpoints" / "44")  # of the second epoch
    for file in (*short.glob("CNN-epoch*.npz"), short / "results.json"):
        file.unlink()
    code, _, error = call("train", "--resume", short, "--json")
    assert code == 0, error
    weights = [next(folder.glob("CNN-epoch2-*.npz")).read_bytes() for folder in (run, short)]
    assert weights[0] == weights[1]
    code, out, error = call("evaluate", run, "--json", "--out", tmp_path)
    assert code == 0, error
    results = json.loads((run / "results.json").read_text())
    assert json.loads(out)["accuracy"] == pytest.approx(results["test_accuracy_of_best"])
    assert arch_title(results["arch"]) == "my_net.py:CNN"
    images = jaxmnist.load_dataset("digits").test_images[:20]
    code, _, error = call("export", run, "--format", "npz", "safetensors", "stablehlo", "--out", tmp_path)
    assert code == 0, error
    from_file = jaxmnist.load(tmp_path / "CNN.npz", arch=f"{place / 'my_net.py'}:CNN")
    np.testing.assert_allclose(
        from_file.predict(images).probabilities,
        jaxmnist.load(run).predict(images).probabilities,
        atol=1e-6,
    )
    with pytest.raises(
        CheckpointError, match=r"not part of jaxmnist; name its class with --arch .*my_net\.py:CNN"
    ):
        jaxmnist.load(next(run.glob("*.npz")))


def test_a_run_says_that_its_class_is_gone_has_moved_or_has_changed(run, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.copytree(run, folder / "run")
    reseal(folder / "run", {"arch": f"{folder / 'my_net.py'}:CNN"})
    with pytest.raises(
        CheckpointError,
        match=r"its network; if it has moved, name it with --arch: .*my_net\.py cannot be read",
    ):
        jaxmnist.load(folder / "run")
    found = jaxmnist.load(folder / "run", arch=f"{FILE}:CNN")
    assert found.arch == f"{FILE}:CNN"
    (folder / "my_net.py").write_text(FILE.read_text() + "\n# a remark\n")
    with pytest.warns(JaxmnistWarning, match=r"my_net\.py:CNN has changed since .* was trained"):
        jaxmnist.load(folder / "run")
    digits = jaxmnist.load_dataset("digits")
    with pytest.raises(
        CheckpointError, match=r"my_net\.py:CNN: the file has changed; restore it or start a new"
    ):
        fit(read_config(folder / "run"), digits, folder / "run", jax.devices()[0])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Missing", r"my_net\.py has no class 'Missing'; give the class of a network after the colon"),
        ("NOT_A_NETWORK", "has a 'NOT_A_NETWORK' that is not a flax.linen.Module; give the class"),
        (
            "Five",
            r"my_net\.py:Five returns \[2, 5\] for images \[2, 28, 28, 1\]; it must return scores \[2, 10\]",
        ),
        ("Failing", r"my_net\.py:Failing fails on images .* \(ValueError: this network is not finished\)"),
        (
            "Spectral",
            r"my_net\.py:Spectral has variables in (batch_stats, )?cache; use only params and batch_stats",
        ),
    ],
)
def test_an_impossible_class_is_answered_in_a_sentence(name, message):
    with pytest.raises(UsageError, match=message):
        create_model(f"{FILE}:{name}")


def test_a_missing_or_broken_file_is_answered_in_a_sentence(tmp_path):
    with pytest.raises(UsageError, match=r"the network's file .*none\.py cannot be read \(No such file"):
        create_model(f"{tmp_path / 'none.py'}:Net")
    (tmp_path / "broken.py").write_text("class Net(:")
    with pytest.raises(UsageError, match=r"broken\.py cannot be loaded \(SyntaxError"):
        create_model(f"{tmp_path / 'broken.py'}:Net")
    with pytest.raises(UsageError, match=r"the network's module no_such_module cannot be loaded"):
        create_model("no_such_module:Net")
    with pytest.raises(UsageError, match="was defined in a session that is over"):
        create_model("__main__:Net")

    class Local(my_net.Plain):
        pass

    with pytest.raises(UsageError, match="the network Local is defined within a function"):
        create_model(Local)


def test_a_script_that_trains_its_own_class_is_not_run_again(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        FILE.read_text()
        + "\nimport jaxmnist\nprint('once')\n"
        + "print(jaxmnist.train_run(Plain, dataset='digits', epochs=1, progress=False).path)\n"
    )
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    once, run = done.stdout.splitlines()
    assert once == "once"
    assert arch_word(json.loads((tmp_path / run / "config.json").read_text())["arch"]) == "Plain"
