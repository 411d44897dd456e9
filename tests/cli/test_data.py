"""The command `data`."""

import json

import numpy as np
import pytest
from PIL import Image

from jaxmnist.data import load_dataset
from jaxmnist.data.dataset import Dataset
from jaxmnist.report.plots.samples import save_samples
from tests.data.written import some_images, write_folder, write_npz


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def test_a_folder_of_images_is_shown_with_counts_statistics_places_and_notes(call, tmp_path):
    data = some_images(40, 15)
    folder = write_folder(tmp_path / "animals", data, ("cat", "dog", "[eel]"))
    (folder / "train" / "cat" / "notes.txt").write_text("x")
    code, out, err = call("data", folder)
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0] == "folder of images: 3 classes, 40 train, 15 test"
    assert f"train      {folder / 'train'}" in lines
    assert f"test       {folder / 'test'}" in lines
    scaled = load_dataset(folder).train_images / 255
    assert f"mean {scaled.mean():.4f}, standard deviation {scaled.std():.4f}" in out
    assert ["[eel]", "13", "5"] in [line.split() for line in lines]
    assert ["all", "40", "15"] in [line.split() for line in lines]
    assert f"Note: Skipped 1 of 56 files in {folder}, which are no readable images" in out
    assert lines[-1] == "Written: samples.png"
    assert "inverted" not in out
    with Image.open("samples.png") as picture:
        assert picture.width > 300


def test_json_is_one_object_with_everything(call, tmp_path):
    data = some_images(40, 15)
    white = data._replace(train_images=255 - data[0], test_images=255 - data[2])
    path = write_npz(tmp_path / "own.npz", white, x_val=white[0][:3], y_val=data[1][:3])
    code, out, _ = call("data", path, "--json", "--fit", "stretch", "--out", "here.png")
    dataset = load_dataset(path, fit="stretch")
    assert code == 0
    assert json.loads(out) == {
        "name": "own",
        "kind": "npz",
        "path": str(path),
        "source": str(path),
        "places": {
            "train": f"{path} (x_train, y_train)",
            "val": f"{path} (x_val, y_val)",
            "test": f"{path} (x_test, y_test)",
        },
        "fit": "stretch",
        "inverted": True,
        "classes": ["0", "1", "2"],
        "counts": {"train": [14, 13, 13], "val": [1, 1, 1], "test": [5, 5, 5]},
        "mean": dataset.mean_and_std[0],
        "std": dataset.mean_and_std[1],
        "fingerprint": dataset.fingerprint,
        "notes": list(dataset.notes),
        "file": "here.png",
    }


def test_a_dataset_with_a_name_is_shown_as_well(call):
    code, out, _ = call("data", "digits")
    assert code == 0
    assert out.startswith(
        "digits: 10 classes, 1,500 train, 297 test\nfrom       scikit-learn's embedded digits"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nothing/here"], 3, "nothing/here does not exist"),
        (["nothing"], 2, "there is no dataset 'nothing'"),
        (["digits", "--fit", "pad"], 2, "--fit pad is for data of your own"),
        (["digits", "--out", "a.jpg"], 2, "--out a.jpg is no PNG file"),
        (["digits", "--out", "missing/a.png"], 2, "--out missing/a.png cannot be written"),
    ],
)
def test_faults_are_a_sentence_and_an_exit_code(call, arguments, code, message):
    found, out, err = call("data", *arguments)
    assert found == code
    assert message in err
    assert err.count("\n") == 1
    assert out == ""


@pytest.mark.parametrize("classes", [2, 31, 1000])
def test_a_picture_shows_training_images_of_each_class(tmp_path, monkeypatch, classes):
    """The mosaics, and the names beside them."""
    drawn = []
    monkeypatch.setattr(
        "jaxmnist.report.plots.samples.save_figure", lambda figure, path: drawn.append(figure) or path
    )
    labels = np.arange(3 * classes, dtype=np.int32) % classes
    images = np.repeat(1 + labels % 255, 28 * 28).reshape(-1, 28, 28).astype(np.uint8)
    names = tuple(f"a long name of class $ {number}" for number in range(classes))
    save_samples(tmp_path, Dataset("own", images, labels, images, labels, "", names))
    (figure,) = drawn
    shown = min(classes, 120)
    ticks = [label.get_text() for axes in figure.axes for label in axes.get_yticklabels()]
    assert len(ticks) == shown
    assert ticks[1].startswith(r"a long name of class \$")
    row = 0
    for axes in figure.axes:
        mosaic = axes.images[0].get_array()
        for middle in axes.get_yticks():
            middle = int(middle)
            np.testing.assert_array_equal(mosaic[middle - 13 : middle + 14, :28], 1 + row % 255)
            np.testing.assert_array_equal(mosaic[middle, 90:118], 255)  # there is no fourth image
            row += 1
    assert row == shown
    title = figure.get_suptitle()
    assert title.startswith(f"Training images of own: {classes:,} classes")
    assert ("the first 120" in title) == (classes > 120)
