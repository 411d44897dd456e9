"""Data of the user's own from the first command to the last: their classes, statistics and fingerprint go along."""

import dataclasses
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest
import safetensors.numpy
from PIL import Image

import jaxmnist
from jaxmnist.cli import main as cli
from jaxmnist.config import get_recipe
from jaxmnist.config.run import RunConfig, run_config, with_data
from jaxmnist.config.seal import opened, sealed
from jaxmnist.data import CLOTHING, load_dataset
from jaxmnist.data.checksums import MNIST_FINGERPRINT
from jaxmnist.data.dataset import DatasetInfo
from jaxmnist.data.images import read_image
from jaxmnist.errors import CheckpointError, DataError, UsageError
from jaxmnist.experiments.study.folder import Study
from jaxmnist.experiments.study.predictions import read_predictions, write_predictions
from jaxmnist.inference.export import export
from jaxmnist.inference.predict import FilePrediction, predict_files, preparation
from jaxmnist.interop.weight_files import METADATA
from jaxmnist.models import create_model
from jaxmnist.runs.folder import read_config
from jaxmnist.runs.weights import read_weights
from jaxmnist.runtime.devices import select_device
from jaxmnist.train.network import Network
from tests.data.written import Images, write_csv, write_folder, write_idx, write_npz
from tests.exported_networks import data_of

NAMES = ("apple pie", "日本", "$Ünïcode <b>")
"""Names with whatever a table, a page or a figure could stumble over."""


def drawn(count: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Light bars on a dark ground, at the height that their class says."""
    rng = np.random.default_rng(count)
    labels = np.arange(count, dtype=np.int32) % classes
    images = np.zeros((count, 28, 28), np.uint8)
    for image, label in zip(images, labels, strict=True):
        top = 3 + round(20 * label / (classes - 1))
        image[top : top + 3, 4:24] = rng.integers(128, 256, (3, 20))
    return images, labels


def data(classes: int, train: int = 120, test: int = 30) -> Images:
    return Images(*drawn(train, classes), *drawn(test, classes))


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data") / "fruit", data(3), NAMES)


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory) -> Path:
    """A run of one epoch on a folder of images."""
    options = {"dataset": folder, "epochs": 1, "batch_size": 16, "progress": False, "device": "cpu"}
    return jaxmnist.train_run("flagship_small", runs=tmp_path_factory.mktemp("runs"), **options).path


@pytest.fixture
def call(monkeypatch, capsys):
    """Runs a command in this process; returns its exit code, standard output and standard error."""

    def do(command, *arguments):
        monkeypatch.setattr(sys, "argv", [command, *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main(command)
        return end.value.code or 0, *capsys.readouterr()

    return do


def test_the_same_images_train_the_same_bytes_from_any_format(tmp_path, call):
    found, pixels = data(3), data(3)
    test = write_csv(tmp_path / "b.csv", *found[2:])
    write_csv(tmp_path / "a.csv.gz", *pixels[:2])
    places = {
        write_idx(tmp_path / "idx", found): None,
        write_npz(tmp_path / "a.npz", found): None,
        tmp_path / "a.csv.gz": test,
        write_folder(tmp_path / "png", found): None,
    }
    weights = set()
    for number, (place, second) in enumerate(places.items()):
        words = ["--arch", "flagship_small", "--dataset", place, "--epochs", 1, "--batch-size", 16]
        words += ["--runs", tmp_path / f"runs{number}"]
        if second is not None:
            words += ["--test", second]
        assert call("train", *words)[0] == 0
        (npz,) = (tmp_path / f"runs{number}").glob("*/*.npz")
        with np.load(npz) as arrays:
            weights.add(b"".join(arrays[name].tobytes() for name in arrays.files if name != METADATA))
    assert len(weights) == 1


def test_a_run_says_what_it_is_trained_on_and_keeps_the_names(run, folder):
    config, dataset = read_config(run), load_dataset(folder)
    assert run.name.startswith("flagship_small-flagship-modified-fruit-s1-")
    assert (config.dataset, config.classes) == (str(folder), tuple(sorted(NAMES)))
    assert (config.fit, config.inverted) == ("pad", False)
    assert config.data_fingerprint == dataset.fingerprint
    mean, std = dataset.mean_and_std
    assert (config.recipe.mean, config.recipe.std) == (round(mean, 4), round(std, 4))
    results = json.loads((run / "results.json").read_text())
    assert (results["dataset"], results["data_fingerprint"]) == ("fruit", dataset.fingerprint)


def test_the_data_are_said_in_one_line_at_the_start(folder, tmp_path, call):
    words = ["--arch", "flagship_small", "--dataset", folder, "--epochs", 1, "--batch-size", 16]
    code, out, _ = call("train", *words, "--runs", tmp_path)
    assert code == 0
    assert f"folder of images: 3 classes, 120 train, 30 test, from {folder}" in out


def test_a_few_images_are_refused_before_anything_is_trained(tmp_path, call):
    code, _, error = call(
        "train", "--dataset", write_npz(tmp_path / "a.npz", data(3, 11)), "--runs", tmp_path / "r"
    )
    assert code == 3
    assert "11 training images" in error
    assert not (tmp_path / "r").exists()


def test_names_are_in_evaluation_predictions_and_every_export(run, folder, tmp_path, call):
    names = sorted(NAMES)
    code, out, _ = call("evaluate", run)
    assert code == 0
    assert all(f"{label} {name}" in out for label, name in enumerate(names))
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert (evaluation["classes"], evaluation["data_of_run"]) == (names, True)
    image = next((folder / "test" / NAMES[1]).iterdir())
    code, out, _ = call("predict", run, image, "--json")
    (row,) = json.loads(out)["predictions"]
    assert row["name"] == names[row["prediction"]] == row["top_three"][0]["name"]
    classifier = jaxmnist.load(run)
    assert classifier.classes == tuple(names)
    assert classifier.predict(image).predictions.tolist() == [row["prediction"]]
    code, _, error = call("export", run, "--format", "html", "onnx", "safetensors", "npz", "--out", tmp_path)
    assert code == 0, error
    metadata = {
        entry.key: entry.value for entry in onnx.load(tmp_path / "flagship_small.onnx").metadata_props
    }
    assert json.loads(metadata["classes"]) == names
    with safetensors.safe_open(tmp_path / "flagship_small.safetensors", "numpy") as file:
        assert json.loads(file.metadata()["classes"]) == names
    again = read_weights(tmp_path / "flagship_small.npz", select_device("cpu"))
    info = read_config(run).data_info
    assert again.data_info == dataclasses.replace(info, dataset="fruit")
    assert (again.recipe.mean, again.recipe.std) == (
        read_config(run).recipe.mean,
        read_config(run).recipe.std,
    )
    card = (tmp_path / "model-card.md").read_text()
    assert "digit" not in card
    assert "| apple pie |" in card
    page = (tmp_path / "flagship_small.html").read_text()
    assert '"is_digits": false' in page
    assert '"fit": "pad"' in page


def test_studies_sweeps_and_reports_take_them(run, folder, tmp_path, call):
    words = ["--arch", "flagship_small", "--dataset", folder, "--epochs", 1, "--batch-size", 16]
    words += ["--device", "cpu"]
    code, _, error = call("study", *words, "--seeds", 2, "--processes", 1, "--out", tmp_path / "study")
    assert code == 0, error
    assert json.loads((tmp_path / "study" / "summary.json").read_text())["dataset"] == "fruit"
    code, _, error = call("sweep", *words, "--over", "learning_rate=0.01,0.02", "--out", tmp_path / "sweep")
    assert code == 0, error
    code, _, error = call("report", run, "--out", tmp_path / "report.html")
    assert code == 0, error
    page = (tmp_path / "report.html").read_text()
    assert "$Ünïcode &lt;b&gt;" in page
    assert "<b>" not in page.replace("<b>Note", "")
    assert "handwritten" not in page


def test_a_run_resumes_with_its_data_and_refuses_others(folder, tmp_path, call):
    base = ["--arch", "flagship_small", "--epochs", 1, "--batch-size", 16, "--dataset"]
    code, _, _ = call("train", *base, folder, "--runs", tmp_path / "runs")
    (found,) = (tmp_path / "runs").iterdir()
    assert call("train", "--resume", found)[0] == 0
    other = write_folder(tmp_path / "other", data(3), NAMES)
    assert call("train", "--resume", found, "--data-dir", other)[0] == 0  # the same images at a new place
    next((other / "train" / NAMES[0]).iterdir()).unlink()
    code, _, error = call("train", "--resume", found, "--data-dir", other)
    assert code == 3
    assert "was trained on other data than" in error
    renamed = write_folder(tmp_path / "renamed", data(3), ("apple pie", "日本人", NAMES[2]))
    code, _, error = call("train", "--resume", found, "--data-dir", renamed)
    assert code == 3
    assert "was trained on other classes than" in error


def test_other_classes_are_refused_in_an_evaluation(run, tmp_path):
    with pytest.raises(
        UsageError, match=r"has 3 classes .* and a has 2 \('0', '1'\); evaluate it on data with"
    ):
        jaxmnist.load(run).evaluate(dataset=write_npz(tmp_path / "a.npz", data(2)))


def test_weights_trained_on_data_of_ones_own_ask_for_them(run, folder):
    (file,) = run.glob("*.npz")
    with pytest.raises(UsageError, match=r"was trained on 'fruit'; name the path of its data with --dataset"):
        jaxmnist.load(file).evaluate()
    found = jaxmnist.load(file).evaluate(dataset=folder)
    assert found.correct == jaxmnist.load(run).evaluate().correct


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": json.dumps(["a", "b"])}, "names 2 classes in its metadata and has the weights of 3"),
        ({"classes": json.dumps(["a", "b", "b"])}, "has wrong metadata"),
        ({"classes": "[1, 2, 3]"}, "has wrong metadata"),
        ({"fit": "crop"}, "has wrong metadata"),
        ({"std": "0"}, "has wrong metadata"),
        ({"mean": "nan"}, "has wrong metadata"),
        ({"inverted": "yes"}, "has wrong metadata"),
        ({"temperature": "0.0"}, "has wrong metadata"),
        ({"temperature": "inf"}, "has wrong metadata"),
        ({"tilt": "-1.0"}, "has wrong metadata"),
        ({"tilt": "30.5"}, "has wrong metadata"),
        ({"tilt": "nan"}, "has wrong metadata"),
    ],
)
def test_metadata_that_cannot_be_are_refused(run, tmp_path, changes, message):
    (file,) = run.glob("*.npz")
    with np.load(file) as archive:
        arrays = dict(archive)
    metadata = opened(json.loads(str(arrays[METADATA])))
    arrays[METADATA] = np.array(json.dumps(sealed(metadata | changes)))
    np.savez(tmp_path / "w.npz", **arrays)
    with pytest.raises(CheckpointError, match=message):
        read_weights(tmp_path / "w.npz", select_device("cpu"))


def test_the_recipes_statistics_are_for_mnist_alone(mnist_dir):
    config = RunConfig("dilated", get_recipe("dilated"), "", 5, "val", "")
    genuine = with_data(config, load_dataset("mnist", mnist_dir))
    assert genuine.data_fingerprint == MNIST_FINGERPRINT
    assert genuine.recipe == get_recipe("dilated")


def test_statistics_follow_the_data_unless_they_are_given():
    dataset = load_dataset("digits")
    found = tuple(round(value, 4) for value in dataset.mean_and_std)
    config = with_data(run_config({"arch": "third"}), dataset)
    assert (config.recipe.name, config.recipe.mean, config.recipe.std) == ("third", *found)
    given = with_data(run_config({"arch": "third", "recipe": {"mean": 0.5}}), dataset)
    assert (given.recipe.name, given.recipe.mean, given.recipe.std) == ("third-modified", 0.5, 0.3081)
    # The file of that run repeats it, under the name that it has.
    again = with_data(run_config(json.loads(json.dumps(dataclasses.asdict(config)))), dataset)
    assert again == config


def test_a_val_split_that_came_with_the_data_is_held_out(tmp_path):
    images, labels = drawn(30, 3)
    names = "train_images train_labels test_images test_labels"
    path = write_npz(tmp_path / "m.npz", data(3), names, val_images=images, val_labels=labels[:, None])
    dataset = load_dataset(path)
    config = with_data(RunConfig("third", get_recipe("third"), "", 1, "val", ""), dataset)
    splits = config.splits(len(dataset.train_images), len(dataset.test_images))
    np.testing.assert_array_equal(dataset.train_images[splits["val"]], images)
    assert len(splits["train"]) == 120
    folds = with_data(dataclasses.replace(config, folds=5, val_count=None), dataset)
    assert len(folds.splits(150, 30)["val"]) == 30
    assert folds.val_count is None


def test_many_classes_have_predictions_of_their_own(tmp_path):
    names = tuple(map(str, range(1000)))
    config = RunConfig("third", get_recipe("third"), "x", 1, "test", "", classes=names)
    study = Study(tmp_path, config)
    study.run(1).mkdir(parents=True)
    labels = np.arange(1000)
    write_predictions(study, 1, labels[::-1], labels)
    predictions, read = read_predictions(study, 1)
    np.testing.assert_array_equal(predictions, labels[::-1])
    np.testing.assert_array_equal(read, labels)


def test_a_class_of_the_users_own_is_given_the_number_of_classes(tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text(
        "import flax.linen as nn\n"
        "class Any(nn.Module):\n"
        "    num_classes: int = 10\n"
        "    @nn.compact\n"
        "    def __call__(self, x):\n"
        "        return nn.Dense(self.num_classes)(x.reshape((len(x), -1)))\n"
        "class Ten(nn.Module):\n"
        "    @nn.compact\n"
        "    def __call__(self, x):\n"
        "        return nn.Dense(10)(x.reshape((len(x), -1)))\n"
    )
    options = {"dataset": write_npz(tmp_path / "a.npz", data(3)), "epochs": 1, "batch_size": 16}
    options |= {"runs": tmp_path / "runs", "progress": False, "device": "cpu"}
    trained = jaxmnist.train_run(f"{tmp_path / 'net.py'}:Any", **options)
    (file,) = trained.path.glob("*.npz")
    again = jaxmnist.load(file, arch=f"{tmp_path / 'net.py'}:Any")
    image = Image.fromarray(data(3).test_images[0])
    np.testing.assert_array_equal(again.predict(image).probabilities, trained.predict(image).probabilities)
    with pytest.raises(UsageError, match=r"it must return scores \[2, 3\]; a field num_classes is set"):
        jaxmnist.train_run(f"{tmp_path / 'net.py'}:Ten", **options)


def test_fashion_keeps_its_names(tmp_path):
    dataset = dataclasses.replace(load_dataset("digits"), name="fashion_mnist", classes=CLOTHING)
    assert with_data(run_config({}), dataset).classes == CLOTHING


def test_eleven_images_called_mnist_end_in_a_sentence(call, tmp_path):
    folder = write_idx(tmp_path / "eleven", data(10, 11, 10))
    code, _, error = call("train", "--dataset", "mnist", "--data-dir", folder, "--runs", tmp_path / "runs")
    assert code == 3
    assert "11 training images, too few to hold out one" in error
    assert not (tmp_path / "runs").exists()


def test_python_refuses_too_few_images_too(tmp_path):
    with pytest.raises(DataError, match="images"):
        jaxmnist.train_run(dataset=write_npz(tmp_path / "a.npz", data(3, 11)), runs=tmp_path, progress=False)


@pytest.mark.parametrize("fit", ["mnist", "stretch", "pad"])
@pytest.mark.parametrize("dark", [True, False])
def test_predict_prepares_a_picture_as_the_dataset_was(tmp_path, fit, dark):
    rng = np.random.default_rng(0)
    for number in range(24):
        height, width = rng.integers(40, 90, 2)
        picture = np.full((height, width, 3), 250 if dark else 10, np.uint8)
        picture[12:30, 15:25] = rng.integers(0, 60, 3) if dark else rng.integers(190, 255, 3)
        file = tmp_path / "own" / ("train" if number < 16 else "test") / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(file)
    dataset = load_dataset(tmp_path / "own", fit=fit)
    assert dataset.inverted == (dark and fit != "mnist")
    known = {image.tobytes() for image in dataset.test_images}
    files = sorted((tmp_path / "own" / "test").glob("*/*.png"))
    read = {read_image(file, *preparation(dataset.info, "auto")).tobytes() for file in files}
    assert read == known
    assert len(known) == (1 if fit == "mnist" else len(files))  # the same bar, in the same place


def test_no_image_is_doubted_for_not_looking_like_a_digit(run, tmp_path):
    blot = np.pad(np.full((20, 20), 255, np.uint8), 4)
    Image.fromarray(blot).save(tmp_path / "blot.png")
    network = jaxmnist.load(run).network
    (found,) = predict_files(network, [tmp_path / "blot.png"])
    assert isinstance(found, FilePrediction)
    assert "digit" not in (found.warning or "")
    digits = network._replace(data_info=DatasetInfo(classes=network.data_info.classes))
    (found,) = predict_files(digits, [tmp_path / "blot.png"], "light")
    assert isinstance(found, FilePrediction)
    assert found.warning == "there is more ink than a digit has"


def test_a_page_of_many_classes_holds_some_test_images_evenly_spread(tmp_path):
    dataset = load_dataset(write_npz(tmp_path / "a.npz", data(47, 470, 94)))
    model = create_model("second", num_classes=47)
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    recipe = get_recipe("second")
    network = Network("second", model, recipe, variables, select_device("cpu"), dataset.info)
    (made,), _ = export(network, dataset, ["html"], tmp_path / "out")
    labels = [sample["label"] for sample in data_of(made.file)["samples"]]
    assert len(labels) == 30
    assert (labels[0], labels[-1]) == (0, 46)
    assert labels == sorted(set(labels))
