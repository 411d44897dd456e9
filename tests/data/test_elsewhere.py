"""Copies of datasets that other programs left: TFDS's own cache, torchvision's, Keras's and Kaggle's files."""

import io
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from jaxmnist.data import DataUnavailableError, elsewhere, idx_folder, load_dataset, tfds_prepared
from jaxmnist.data.checksums import DOWNLOADS, Download
from tests.data.written import some_images, write_idx, write_npz

DATA = some_images(train=60, test=25, classes=10)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A machine without data, on which DATA is the published MNIST."""
    for name in ("JAXMNIST_DATA_DIR", "KERAS_HOME", "KAGGLEHUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    (home / "work" / "project").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TFDS_DATA_DIR", str(home / "tfds"))
    monkeypatch.setenv("KAGGLE_INPUT", str(home / "kaggle"))
    monkeypatch.chdir(home / "work" / "project")
    folder = write_idx(tmp_path / "published", DATA)
    fingerprint = load_dataset("mnist", folder).fingerprint
    monkeypatch.setitem(
        DOWNLOADS, "mnist", Download("http://127.0.0.1:9/", DOWNLOADS["mnist"].files, fingerprint)
    )
    return home


class Mnist(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """The builder of TFDS, without its download; PNG files come encoded, which TFDS needs TensorFlow for."""

    name = "mnist"
    VERSION = tfds.core.Version("3.0.1")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(28, 28, 1), encoding_format="png"),
            "label": tfds.features.ClassLabel(num_classes=10),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(*DATA.splits[split]) for split in ("train", "test")}

    def _generate_examples(self, images, labels):
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            content = io.BytesIO()
            Image.fromarray(image).save(content, "PNG")
            yield number, {"image": content.getvalue(), "label": label}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The cache of TFDS with MNIST as TFDS itself shuffles and writes it."""
    root = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tfds.core.DatasetInfo, "initialize_from_bucket", lambda self: None)
        Mnist(data_dir=root).download_and_prepare(file_format="array_record")
    return root


@pytest.fixture
def cache(prepared, home):
    return Path(shutil.copytree(prepared, home / "tfds")) / "mnist" / "3.0.1"


def as_tfrecords(folder):
    """Rewrites array_record files as TFRecord files of two shards."""
    for file in list(folder.glob("*.array_record-*")):
        records = list(tfds_prepared._array_records(file))
        file.unlink()
        split = "train" if "train" in file.name else "test"
        for shard, part in enumerate((records[:20], records[20:])):
            content = b"".join(struct.pack("<QI", len(one), 0) + one + bytes(4) for one in part)
            (folder / f"mnist-{split}.tfrecord-{shard:05}-of-00002").write_bytes(content)


def load():
    lines: list[str] = []
    return load_dataset("mnist", announce=lines.append, download=False), lines


@pytest.mark.parametrize("form", ["array_record", "tfrecord"])
def test_the_cache_of_tfds_itself_is_read_in_the_published_order(cache, form):
    if form == "tfrecord":
        as_tfrecords(cache)
    dataset, lines = load()
    for ours, published in zip(dataset.arrays, DATA, strict=True):
        np.testing.assert_array_equal(ours, published)
    assert lines == [f"Using mnist from {cache} (as TFDS prepared it)."]
    assert str(cache) in dataset.source


def test_the_order_is_the_known_one_of_tfds(mnist_dir):
    # tfds.load("mnist") begins with these labels.
    for split, first in (("train", [4, 1, 0, 7, 8, 1, 2, 7, 1, 6]), ("test", [2, 0, 4, 8, 7, 6, 0, 6, 3, 1])):
        dataset = load_dataset("mnist", mnist_dir)
        labels = dataset.train_labels if split == "train" else dataset.test_labels
        assert labels[tfds_prepared._order(split, len(labels))[:10]].tolist() == first


def test_the_newest_version_counts(cache):
    for version in ("3.0.9", "3.0.10"):
        shutil.copytree(cache, cache.parent / version)
    assert tfds_prepared.find("mnist", cache.parents[1]) == cache.parent / "3.0.10"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (
            lambda files: [file.unlink() for file in files],
            "has no records of train in the form array_record or tfrecord",
        ),
        (lambda files: files[0].write_bytes(b"x" * 100), "cannot be read"),
        (
            lambda files: (as_tfrecords(files[0].parent), truncate(files[0].parent)),
            "is damaged .* is cut short",
        ),
        (lambda files: files[1].replace(files[0]), "has no records of"),
    ],
)
def test_a_cache_that_cannot_be_read_is_named_with_the_reason_and_left_alone(cache, damage, reason):
    damage(sorted(cache.glob("*array_record-*")))
    with pytest.raises(DataUnavailableError, match=rf"{cache} \(as TFDS prepared it: {reason}"):
        load()


def truncate(folder):
    file = min(folder.glob("*test.tfrecord-*"))
    file.write_bytes(file.read_bytes()[:-10])


def test_other_data_under_the_name_are_not_taken_for_mnist(home, cache):
    DOWNLOADS["mnist"] = Download("http://127.0.0.1:9/", DOWNLOADS["mnist"].files, "0" * 64)
    write_idx(home / "work" / "project" / "data" / "MNIST" / "raw", DATA)
    with pytest.raises(DataUnavailableError) as caught:
        load()
    assert str(caught.value).count("is not the published dataset") == 2


@pytest.mark.parametrize(
    ("place", "what"),
    [
        ("work/project/data/MNIST/raw", "torchvision"),
        ("work/data/MNIST/raw", "torchvision"),
        (".pytorch/MNIST/raw", "torchvision"),
        ("kaggle/mnist-dataset", "torchvision or Kaggle"),
        (".cache/kagglehub/datasets/hojjatk/mnist-dataset/versions/1", "torchvision or Kaggle"),
    ],
)
def test_idx_files_in_an_obvious_place_are_used_and_named(home, place, what):
    write_idx(home / place, DATA)
    dataset, (line,) = load()
    np.testing.assert_array_equal(dataset.train_images, DATA.train_images)
    assert what in line
    shown = line.partition("from ")[2].partition(" (files")[0]
    assert Path(shown).resolve() == home / place
    assert shown in dataset.source


def test_kaggle_s_tables_and_keras_s_file_are_used_and_named(home):
    folder = home / "kaggle" / "mnist-in-csv"
    folder.mkdir(parents=True)
    for split, (images, labels) in DATA.splits.items():
        rows = np.column_stack([labels, images.reshape(len(images), -1)])
        header = ",".join(["label", *map(str, range(784))])
        np.savetxt(folder / f"mnist_{split}.csv", rows, fmt="%d", delimiter=",", header=header, comments="")
    dataset, lines = load()
    np.testing.assert_array_equal(dataset.test_images, DATA.test_images)
    assert lines == [f"Using mnist from {folder / 'mnist_train.csv'} (Kaggle's table)."]
    shutil.rmtree(folder)
    file = home / ".keras" / "datasets" / "mnist.npz"
    file.parent.mkdir(parents=True)
    write_npz(file, DATA)
    dataset, lines = load()
    np.testing.assert_array_equal(dataset.train_labels, DATA.train_labels)
    assert lines == [f"Using mnist from {file} (Keras's file)."]


def test_a_damaged_copy_is_named_and_the_next_one_used(home):
    raw = write_idx(home / "data" / "MNIST" / "raw", DATA)
    (raw / "t10k-labels-idx1-ubyte").write_bytes(b"")
    folder = write_idx(home / "kaggle" / "mnist-dataset", DATA)
    dataset, lines = load()
    assert str(folder) in dataset.source
    assert lines[0].startswith(f"Not using {home / 'data'} (files of torchvision or Kaggle): ")
    assert "is empty" in lines[0]


def test_emnist_as_tfds_prepared_it_is_said_not_to_be_read(cache):
    shutil.copytree(cache, cache.parents[1] / "emnist" / "letters" / "3.1.0")
    lines: list[str] = []
    found = elsewhere.find("emnist/letters", cache.parents[1], lines.append)
    assert isinstance(found, list)
    assert "is not read, as its images lie on their sides; it is downloaded instead" in lines[0]


def test_a_machine_without_copies_has_nothing_to_say(home):
    assert elsewhere.find("mnist", home / "tfds", pytest.fail) == []
    assert idx_folder.read("mnist", home) == "none of the four files is in it"
