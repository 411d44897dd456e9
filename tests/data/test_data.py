"""The search for a dataset, its order and its errors; the embedded digits; splits."""

import dataclasses
import gzip
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxmnist.config import get_recipe
from jaxmnist.config.run import RunConfig
from jaxmnist.data import DATASETS, Dataset, DataUnavailableError, load_dataset
from jaxmnist.data.checksums import DOWNLOADS
from jaxmnist.data.idx import FILE_NAMES
from jaxmnist.data.splits import require_enough, split_indices
from jaxmnist.errors import DataError, UsageError
from tests.data.test_idx import write_set

REFUSED = "http://127.0.0.1:1/"  # nothing listens on port 1


@pytest.fixture(autouse=True)
def _no_other_data(monkeypatch, tmp_path):
    monkeypatch.delenv("JAXMNIST_DATA_DIR", raising=False)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_reading_idx_files_loads_no_heavy_library(tmp_path):
    code = (
        "import sys; from jaxmnist.data import load_dataset; load_dataset('mnist');"
        "heavy = ('tensorflow_datasets', 'tensorflow', 'torch', 'jax', 'sklearn', 'PIL', 'requests');"
        "print([m for m in heavy if m in sys.modules])"
    )
    assert python(code, JAXMNIST_DATA_DIR=str(write_set(tmp_path / "data"))) == "[]\n"


def test_an_unknown_name_is_a_usage_error_with_a_guess():
    with pytest.raises(UsageError, match="did you mean 'fashion_mnist'") as caught:
        load_dataset("fashion-mnist")
    assert caught.value.exit_code == 2
    with pytest.raises(UsageError, match=r"choose one of mnist, .*, digits, or the path of your own"):
        load_dataset("xyz")


@pytest.mark.parametrize("subfolder", ["", "mnist"])
def test_a_folder_may_hold_the_files_or_a_subfolder_named_after_the_dataset(tmp_path, subfolder):
    folder = write_set(tmp_path / "data" / subfolder)
    dataset = load_dataset("mnist", tmp_path / "data")
    assert dataset.train_images.shape == (3, 28, 28)
    assert dataset.source == f"the folder {folder}"
    assert dataset.name == "mnist"


def test_the_named_folder_comes_before_the_environment(tmp_path, monkeypatch):
    write_set(tmp_path / "named")
    monkeypatch.setenv("JAXMNIST_DATA_DIR", str(write_set(tmp_path / "environment")))
    assert load_dataset("mnist", tmp_path / "named").source == f"the folder {tmp_path / 'named'}"
    assert load_dataset("mnist").source == f"the folder {tmp_path / 'environment'}"


def test_a_named_folder_without_the_files_is_an_error_even_when_the_environment_has_them(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("JAXMNIST_DATA_DIR", str(write_set(tmp_path / "environment")))
    (tmp_path / "empty").mkdir()
    for folder, reason in (
        (tmp_path / "empty", "none of the four"),
        (tmp_path / "nothing", "no such folder"),
    ):
        with pytest.raises(DataError, match=reason) as caught:
            load_dataset("mnist", folder)
        assert str(folder) in str(caught.value)
        assert not isinstance(caught.value, DataUnavailableError)


@pytest.mark.parametrize("place", ["named", "environment"])
def test_damaged_files_are_an_error_and_no_other_place_is_tried(tmp_path, monkeypatch, place):
    folder = write_set(tmp_path / "data")
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(b"<html>")
    if place == "environment":
        monkeypatch.setenv("JAXMNIST_DATA_DIR", str(folder))
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte.gz is a web page") as caught:
        load_dataset("mnist", folder if place == "named" else None)
    assert not isinstance(caught.value, DataUnavailableError)
    assert caught.value.exit_code == 3


def test_an_incomplete_folder_in_the_environment_is_an_error(tmp_path, monkeypatch):
    folder = write_set(tmp_path / "data")
    (folder / "t10k-images-idx3-ubyte").unlink()
    monkeypatch.setenv("JAXMNIST_DATA_DIR", str(folder))
    with pytest.raises(DataError, match="has no t10k-images-idx3-ubyte"):
        load_dataset("mnist")


def test_a_dataset_found_nowhere_is_an_error_with_all_places_and_file_names(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXMNIST_DATA_DIR", str(tmp_path / "nothing"))
    with pytest.raises(DataUnavailableError) as caught:
        load_dataset("fashion_mnist", base_url=REFUSED)
    message = str(caught.value)
    places = [f"JAXMNIST_DATA_DIR={tmp_path / 'nothing'} (no such folder)", str(tmp_path / "tfds"), REFUSED]
    for part in [*places, "Connection refused", "--data-dir", *FILE_NAMES]:
        assert part in message
    assert message.count(". ") == 0
    assert not (tmp_path / "tfds").exists()


def test_a_tilde_is_expanded_and_an_unknown_user_is_no_such_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_set(tmp_path / "data")
    assert load_dataset("mnist", "~/data").source == f"the folder {tmp_path / 'data'}"
    with pytest.raises(DataError, match="no such folder"):
        load_dataset("mnist", "~no-such-user/data")


def test_a_missing_home_folder_is_part_of_the_error(monkeypatch):
    monkeypatch.delenv("TFDS_DATA_DIR")

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(DataUnavailableError, match=r"no home folder .* set TFDS_DATA_DIR"):
        load_dataset("mnist", base_url=REFUSED)


def test_the_files_of_another_published_dataset_do_not_pass_for_this_one(mnist_dir, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="its files are those of mnist"):
        load_dataset("fashion_mnist", mnist_dir / "mnist")
    monkeypatch.setenv("JAXMNIST_DATA_DIR", str(mnist_dir / "mnist"))
    with pytest.raises(DataUnavailableError, match="its files are those of mnist"):
        load_dataset("fashion_mnist", base_url=REFUSED)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "fashion_mnist").symlink_to(mnist_dir / "mnist")
    with pytest.raises(DataError, match="holds the files of mnist, not fashion_mnist"):
        load_dataset("fashion_mnist", tmp_path / "data")


def test_the_fingerprint_depends_on_the_contents_and_not_on_the_place(tmp_path):
    first = load_dataset("mnist", write_set(tmp_path / "a"))
    folder = write_set(tmp_path / "b")
    for file_name in ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte"):
        plain = folder / file_name
        (folder / f"{file_name}.gz").write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
    assert load_dataset("mnist", folder).fingerprint == first.fingerprint
    shutil.rmtree(folder)
    other = write_set(folder, labels=np.array([9, 0, 5], np.uint8))
    assert load_dataset("mnist", other).fingerprint != first.fingerprint


def test_arrays_are_read_only_and_of_the_promised_types(tmp_path):
    dataset = load_dataset("mnist", write_set(tmp_path))
    assert [array.dtype for array in dataset.arrays] == [np.uint8, np.int32, np.uint8, np.int32]
    for array in dataset.arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_the_published_datasets_have_6000_training_images_of_each_class_or_nearly(mnist_dir):
    for name in DATASETS[:2]:
        dataset = load_dataset(name, mnist_dir)
        counts = np.bincount(dataset.train_labels)
        assert len(counts) == 10
        assert counts.min() >= 5421  # the fives of MNIST
        assert counts.max() <= 6742  # its ones
        assert dataset.fingerprint == DOWNLOADS[name].fingerprint


def test_digits_are_the_1797_images_of_scikit_learn_with_the_last_297_for_test():
    from sklearn.datasets import load_digits

    dataset = load_dataset("digits")
    assert dataset.train_images.shape == (1500, 28, 28)
    assert dataset.test_images.shape == (297, 28, 28)
    labels = np.concatenate([dataset.train_labels, dataset.test_labels])
    np.testing.assert_array_equal(labels, load_digits(return_X_y=True)[1])
    assert set(dataset.test_labels) == set(range(10))
    assert np.bincount(dataset.test_labels).min() >= 27
    assert "not MNIST" in dataset.source


def test_digits_are_the_same_bytes_everywhere():
    assert (
        load_dataset("digits").fingerprint
        == "e229d00d7d7c157478ba87f47f09e465ce4caa5f3d64b760ca56a78974a863a2"
    )


def test_digits_are_scaled_and_centred_like_mnist():
    images = load_dataset("digits").train_images
    assert images.max() == 255
    rows = np.flatnonzero(images.any(axis=(0, 2)))
    assert rows.min() > 0
    assert rows.max() < 27
    mass = images.sum(axis=(1, 2))
    for axis in (1, 2):  # 13.5 is the middle of 28 pixels; the digits are shifted by whole pixels
        centre = (images.sum(axis=3 - axis) @ np.arange(28)) / mass
        np.testing.assert_allclose(centre, 13.5, atol=0.51)


def test_mnist_neighbours_agree_with_the_labels_of_the_digits(mnist_dir):
    mnist, digits = load_dataset("mnist", mnist_dir), load_dataset("digits")
    known = mnist.train_images[:8000].reshape(8000, -1).astype(np.float32)
    known /= np.linalg.norm(known, axis=1, keepdims=True)
    asked = digits.train_images.reshape(1500, -1).astype(np.float32)
    nearest = (asked @ known.T).argmax(axis=1)
    assert (mnist.train_labels[nearest] == digits.train_labels).mean() > 0.75


@pytest.mark.parametrize("seeds", [(1, 2, 3), (40, 41, 42)])
def test_folds_hold_out_every_training_image_once(seeds):
    configs = [RunConfig("third", get_recipe("third"), "mnist", seed, "val", "", folds=3) for seed in seeds]
    held_out = []
    for config in configs:
        splits = config.splits(61, 7)
        assert sorted([*splits["train"], *splits["val"]]) == list(range(61))
        np.testing.assert_array_equal(splits["test"], np.arange(61, 68))
        held_out.append(splits["val"])
    assert len(set(np.concatenate(held_out))) == 60  # the 61st always trains


def test_the_first_fold_is_at_the_end_and_without_folds_the_last_twelfth_is_held_out():
    config = RunConfig("third", get_recipe("third"), "mnist", 1, "val", "", folds=4)
    np.testing.assert_array_equal(config.splits(60_000, 10_000)["val"], np.arange(45_000, 60_000))
    second = dataclasses.replace(config, seed=2)
    np.testing.assert_array_equal(second.splits(60_000, 10_000)["val"], np.arange(30_000, 45_000))
    for seed in (1, 2):
        splits = dataclasses.replace(config, seed=seed, folds=None).splits(60_000, 10_000)
        np.testing.assert_array_equal(splits["val"], np.arange(55_000, 60_000))
        np.testing.assert_array_equal(splits["train"], np.arange(55_000))


def test_a_val_split_that_came_with_the_data_is_held_out_whole():
    splits = split_indices(100, 7, "val", val_count=9)
    np.testing.assert_array_equal(splits["train"], np.arange(91))
    np.testing.assert_array_equal(splits["val"], np.arange(91, 100))
    np.testing.assert_array_equal(splits["test"], np.arange(100, 107))
    for select_on in ("test", "last"):
        splits = split_indices(100, 7, select_on, val_count=9)
        np.testing.assert_array_equal(splits["train"], np.arange(100))
        assert len(splits["val"]) == 0


def few(count: int, val_count: int | None = None) -> Dataset:
    """A dataset with so many training images."""
    images, labels = np.zeros((count, 28, 28), np.uint8), np.arange(count, dtype=np.int32) % 2
    return Dataset("few", images, labels, images[:2], labels[:2], "nowhere", ("a", "b"), val_count)


@pytest.mark.parametrize(
    ("count", "val_count", "select_on", "folds", "batch_size", "finding"),
    [
        (
            11,
            None,
            "val",
            None,
            None,
            "nowhere has 11 training images, too few to hold out one in 12 for val",
        ),
        (12, None, "val", None, None, None),
        (11, None, "test", None, None, None),
        (11, None, "last", None, None, None),
        (11, None, "val", 11, None, None),
        (11, None, "val", 12, None, "one in 12"),
        (3, 1, "val", None, None, None),
        (3, 1, "val", 4, None, "too few to hold out one in 4"),
        (12, None, "val", None, 11, None),
        (12, None, "val", None, 12, "leaves 11 images to train on where a batch has 12"),
        (12, None, "test", None, 12, None),
        (2, 2, "val", None, None, "leaves 0 images to train on"),
    ],
)
def test_too_few_images_for_a_run_are_refused_before_it(
    count, val_count, select_on, folds, batch_size, finding
):
    dataset = few(count, val_count)
    if finding is None:
        require_enough(dataset, select_on, folds, batch_size)
    else:
        with pytest.raises(DataError, match=finding):
            require_enough(dataset, select_on, folds, batch_size)


def test_eleven_images_load_by_name_and_are_refused_by_path_for_a_class_without_training_images(mnist_dir):
    folder = mnist_dir.parent / "cases" / "data" / "eleven_images"
    if not folder.is_dir():
        pytest.skip("../cases/data/eleven_images is not there, seen from JAXMNIST_DATA_DIR")
    dataset = load_dataset("mnist", folder)
    assert dataset.describe() == "mnist: 10 classes, 11 train, 5 test"
    with pytest.raises(DataError, match="11 training images, too few to hold out one in 12"):
        require_enough(dataset, "val")
    with pytest.raises(DataError, match="test images of class '7' but no training images"):
        load_dataset(folder)


def test_each_name_has_its_classes(mnist_dir):
    assert load_dataset("digits").classes == load_dataset("mnist", mnist_dir).classes == tuple("0123456789")
    fashion = load_dataset("fashion_mnist", mnist_dir)
    assert fashion.classes[9] == "ankle boot"
    assert fashion.describe() == "fashion_mnist: 10 classes, 60,000 train, 10,000 test"
    assert (fashion.path, fashion.fit, fashion.val_count) == (None, "mnist", None)
