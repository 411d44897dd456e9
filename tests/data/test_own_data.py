"""Data of one's own in any format: the same images give the same dataset, and faults one sentence each."""

import contextlib
import gzip
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from jaxmnist.data import is_path, load_dataset
from jaxmnist.data.assemble import MAX_CLASSES, hold_out
from jaxmnist.data.idx import FILE_NAMES
from jaxmnist.errors import DataError, UsageError
from tests.data.test_data import python
from tests.data.test_tfds import emnist_files
from tests.data.written import (
    Images,
    csv_text,
    some_images,
    write_csv,
    write_folder,
    write_idx,
    write_npz,
)

DATA = some_images()


def refusal(path: Path | str, **options) -> str:
    """The message of the error that data are refused with."""
    with pytest.raises(DataError) as caught:
        load_dataset(path, **options)
    message = str(caught.value)
    assert caught.value.exit_code == 3
    assert message.endswith("."), "the message is a sentence"
    assert ". " not in message, "and only one"
    return message


def same(dataset, data: Images) -> None:
    """Asserts that a dataset has these arrays."""
    for ours, theirs in zip(dataset.arrays, data, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert [array.dtype for array in dataset.arrays] == [np.uint8, np.int32, np.uint8, np.int32]


def write(kind: str, folder: Path, data: Images = DATA) -> Path:
    """Writes data in a format; returns the path to load."""
    match kind:
        case "IDX":
            return write_idx(folder / "own", data)
        case "npz":
            return write_npz(folder / "own.npz", data)
        case "csv":
            write_csv(folder / "own_test.csv", *data[2:])
            return write_csv(folder / "own.csv", *data[:2])
        case _:
            return write_folder(folder / "own", data)


KINDS = ["IDX", "npz", "csv", "folder of images"]


@pytest.mark.parametrize("fit", ["pad", "stretch", "mnist"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_images_give_the_same_dataset_in_any_format(tmp_path, kind, fit):
    dataset = load_dataset(write(kind, tmp_path), fit=fit)
    if fit != "mnist":  # "mnist" inverts what looks like dark ink
        same(dataset, DATA)
    assert dataset.fingerprint == load_dataset(write("npz", tmp_path), fit=fit).fingerprint
    assert dataset.name == "own"
    assert dataset.kind == kind
    assert dataset.path is not None
    assert dataset.path.startswith(str(tmp_path / "own"))
    assert dataset.classes == ("0", "1", "2")
    assert dataset.fit == fit
    assert dataset.val_count is None
    assert dataset.notes == ()
    assert dataset.describe() == f"{kind}: 3 classes, 40 train, 15 test"
    assert set(dataset.places) == {"train", "test"}
    with pytest.raises(ValueError, match="read-only"):
        dataset.train_images[0] = 0


def test_the_digits_come_back_with_the_fingerprint_they_have_by_name(tmp_path):
    digits = load_dataset("digits")
    for kind in ("npz", "csv", "folder of images"):
        data = Images(*digits.arrays)
        names = tuple("0123456789")
        path = write_folder(tmp_path / "f", data, names) if kind[0] == "f" else write(kind, tmp_path, data)
        assert load_dataset(path).fingerprint == digits.fingerprint


def test_statistics_are_those_of_the_training_pixels(tmp_path):
    data = some_images(4000, 10)
    dataset = load_dataset(write("npz", tmp_path, data))
    scaled = data.train_images / 255
    np.testing.assert_allclose(dataset.mean_and_std, (scaled.mean(), scaled.std()), rtol=1e-9)
    with_val = {"x_val": np.full((3, 28, 28), 9, np.uint8), "y_val": np.arange(3)}
    again = load_dataset(write_npz(tmp_path / "v.npz", data, **with_val))
    assert again.mean_and_std == dataset.mean_and_std
    counts = again.class_counts()
    assert {split: list(of_split) for split, of_split in counts.items()} == {
        "train": [1334, 1333, 1333],
        "val": [1, 1, 1],
        "test": [3, 4, 3],
    }
    assert again.describe() == "npz: 3 classes, 4,000 train, 3 val, 10 test"


# What is a path, and what is there


def test_a_name_wins_over_a_file_and_anything_with_a_separator_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("folder of images", tmp_path)
    shutil.move("own", "digits")
    assert load_dataset("digits").path is None
    assert load_dataset("./digits").num_classes == 3
    assert load_dataset(Path("digits")).path == str(tmp_path / "digits")
    write("npz", tmp_path)
    assert load_dataset("own.npz").path == str(tmp_path / "own.npz")
    assert not is_path("emnist/letters")
    assert not is_path("")
    assert not is_path("a" * 5000)
    with pytest.raises(UsageError, match="did you mean 'emnist/letters'"):
        load_dataset("emnist/leters")
    assert "does not exist" in refusal("nothing/here")


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write("npz", tmp_path)
    assert load_dataset("~/own.npz").path == str(tmp_path / "own.npz")
    assert "does not exist" in refusal("~no-such-user/own.npz")


def test_options_for_data_of_ones_own_are_refused_with_a_name():
    with pytest.raises(UsageError, match="--fit pad is for data of your own"):
        load_dataset("digits", fit="pad")
    with pytest.raises(UsageError, match=r"--test a.csv is for data of your own"):
        load_dataset("mnist", test="a.csv")


def test_a_test_file_goes_with_csv_only(tmp_path):
    with pytest.raises(UsageError, match=r"--test .* goes with a .csv file"):
        load_dataset(write("npz", tmp_path), test=tmp_path / "own.npz")


def test_an_unknown_fit_is_answered_with_the_known_ones(tmp_path):
    # In a process of its own, where types are not checked.
    code = f"import jaxmnist.data as d\ntry: d.load_dataset({str(write('npz', tmp_path))!r}, fit='padded')\n"
    answer = python(f"{code}except d.UsageError as error: print(error)")
    assert answer == "there is no fit 'padded' (did you mean 'pad'?); choose one of mnist, stretch, pad.\n"


@pytest.mark.parametrize("kind", ["npz", "csv"])
def test_a_folder_with_one_file_of_data_stands_for_the_file(tmp_path, kind):
    folder = tmp_path / "folder"
    folder.mkdir()
    write(kind, folder)
    (folder / "README.txt").write_text("images")
    if kind == "csv":  # Kaggle's names
        (folder / "own.csv").rename(folder / "train.csv")
        (folder / "own_test.csv").rename(folder / "test.csv")
        (folder / "sample_submission.csv").write_text("ImageId,Label\n")
    same(load_dataset(folder), DATA)


def test_two_kinds_of_data_in_a_folder_are_refused(tmp_path):
    folder = write("folder of images", tmp_path)
    write("npz", folder)
    assert "two kinds of data (npz and folder of images)" in refusal(folder)
    (folder / "own.npz").unlink()
    write_idx(folder, DATA)
    assert "two kinds of data (IDX and folder of images)" in refusal(folder)


def test_several_files_of_data_in_a_folder_are_refused(tmp_path):
    for name in ("a.npz", "b.npz"):
        write_npz(tmp_path / name, DATA)
    assert "holds a.npz, b.npz; name one of them" in refusal(tmp_path)


def test_anything_else_is_refused_with_what_can_be_read(tmp_path):
    (tmp_path / "notes.txt").write_text("images")
    for path in (tmp_path, tmp_path / "notes.txt"):
        message = refusal(path)
        assert str(path) in message
        assert "train/CLASS/*.png" in message


def test_an_unreadable_folder_is_refused(tmp_path, monkeypatch):
    path = write("folder of images", tmp_path)

    def refuse(folder):  # permissions do not stop root, who runs tests in containers
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("os.scandir", refuse)
    assert "cannot be read (Permission denied)" in refusal(path)


# IDX


def rename(folder: Path, form: str) -> Path:
    """Gives the IDX files in a folder the names that are in use elsewhere; returns what to load."""
    for name in FILE_NAMES:
        path, content = folder / name, (folder / name).read_bytes()
        path.unlink()
        match form:
            case "dots":
                (folder / name.replace("-idx", ".idx")).write_bytes(content)
            case "gz":
                (folder / f"{name}.gz").write_bytes(gzip.compress(content))
            case "dots, gz":
                (folder / f"{name.replace('-idx', '.idx')}.gz").write_bytes(gzip.compress(content))
            case "kaggle":
                path.mkdir()
                (path / name).write_bytes(content)
                (folder / name.replace("-idx", ".idx")).write_bytes(content)
            case "nested":
                path.mkdir()
                (path / name).write_bytes(content)
            case "test":
                (folder / name.replace("t10k", "test")).write_bytes(content)
            case "prefix":
                (folder / f"letters-{name}").write_bytes(content)
            case "torchvision":
                (folder / "MNIST" / "raw").mkdir(parents=True, exist_ok=True)
                (folder / "MNIST" / "raw" / name).write_bytes(content)
                (folder / "MNIST" / "raw" / f"{name}.gz").write_bytes(gzip.compress(content))
    return folder


FORMS = ["dots", "gz", "dots, gz", "kaggle", "nested", "test", "prefix", "torchvision"]


@pytest.mark.parametrize("form", FORMS)
def test_idx_files_are_found_under_any_name_in_use(tmp_path, form):
    folder = rename(write("IDX", tmp_path), form)
    same(load_dataset(folder), DATA)
    if form == "torchvision":
        same(load_dataset(folder / "MNIST"), DATA)
        same(load_dataset(folder / "MNIST" / "raw"), DATA)
    if form != "prefix":
        assert load_dataset("mnist", folder).num_classes == 10


def test_the_files_of_emnist_are_set_right_by_a_path_as_well(tmp_path):
    for name, content in emnist_files("emnist/letters").items():
        (tmp_path / name).write_bytes(content)
    named, own = load_dataset("emnist/letters", tmp_path), load_dataset(tmp_path)
    assert own.fingerprint == named.fingerprint
    assert own.classes == named.classes
    for name, content in emnist_files("emnist/digits").items():
        (tmp_path / name).write_bytes(content)
    message = refusal(tmp_path)
    assert "holds several datasets" in message
    assert "--dataset emnist/letters" in message


def test_idx_files_may_have_any_number_of_classes(tmp_path):
    data = some_images(200, 100, classes=100)
    dataset = load_dataset(write_idx(tmp_path, data))
    assert dataset.num_classes == 100
    assert dataset.classes[99] == "99"
    same(dataset, data)


def test_a_missing_idx_file_is_refused_by_its_name(tmp_path):
    folder = write("IDX", tmp_path)
    (folder / "t10k-labels-idx1-ubyte").unlink()
    assert "has no t10k-labels-idx1-ubyte" in refusal(folder)


def test_the_genuine_mnist_has_the_same_fingerprint_by_its_path(mnist_dir):
    by_path, by_name = load_dataset(mnist_dir / "mnist"), load_dataset("mnist", mnist_dir)
    assert by_path.fingerprint == by_name.fingerprint
    assert by_path.classes == by_name.classes


# Labels and classes


def with_labels(path: Path, train: object, test: object = None, **others) -> Path:
    """An `.npz` with these labels."""
    train = np.asarray(train)
    test = train if test is None else np.asarray(test)
    images = [np.random.default_rng(0).integers(0, 256, (len(of), 28, 28), np.uint8) for of in (train, test)]
    return write_npz(path / "own.npz", Images(images[0], train, images[1], test), **others)


def test_classes_are_the_labels_that_occur_and_a_gap_is_mentioned(tmp_path):
    dataset = load_dataset(with_labels(tmp_path, [2, 10, 3, 5] * 10))
    assert dataset.classes == ("2", "3", "5", "10")
    np.testing.assert_array_equal(dataset.train_labels[:4], [0, 3, 1, 2])
    assert dataset.notes == ()
    dataset = load_dataset(with_labels(tmp_path, [1, 2, 3, 5] * 10))
    assert dataset.notes == (f"No image of {tmp_path / 'own.npz'} has the label '4'.",)


def test_words_are_sorted_by_letters_and_whole_numbers_among_them_by_value(tmp_path):
    dataset = load_dataset(with_labels(tmp_path, np.array(["b", "10", "B", "2", "a"] * 10)))
    assert dataset.classes == ("2", "10", "B", "a", "b")
    np.testing.assert_array_equal(dataset.train_labels[:5], [4, 1, 2, 0, 3])


def test_names_of_classes_may_come_with_the_labels(tmp_path):
    names = np.array(["cat", "dog", "eel"])
    dataset = load_dataset(with_labels(tmp_path, [0, 2] * 10, classes=names))
    assert dataset.classes == ("cat", "dog", "eel")
    assert dataset.notes[0] == f"{tmp_path / 'own.npz'} has no train image of class 'dog'."
    assert "the label 3 at position 1" in refusal(with_labels(tmp_path, [0, 3] * 10, classes=names))
    assert "same name" in refusal(with_labels(tmp_path, [0, 1] * 10, classes=names[[0, 0]]))
    assert "words for labels" in refusal(with_labels(tmp_path, np.array(["cat", "dog"]), classes=names))


@pytest.mark.parametrize(
    ("labels", "finding"),
    [
        ([0, 1, -1], "the label -1 at position 2"),
        ([0, 1.5, 1], "the label 1.5 at position 1"),
        ([0, np.nan, 1], "the label nan at position 1"),
        ([0, 1, MAX_CLASSES], "the label 1000 at position 2 where labels are whole numbers from 0 to 999"),
        ([7, 7, 7], "has training images of class '7' only"),
        ([[0, 1], [1, 0], [1, 0]], r"labels of type int64 and shape [3, 2]"),
    ],
)
def test_labels_of_no_use_are_refused(tmp_path, labels, finding):
    assert finding in refusal(with_labels(tmp_path, labels))


def test_more_classes_than_can_be_trained_are_refused(tmp_path):
    words = np.array([f"class {number}" for number in range(MAX_CLASSES + 1)])
    assert "has 1,001 classes" in refusal(with_labels(tmp_path, words))
    assert load_dataset(with_labels(tmp_path, words[1:])).num_classes == MAX_CLASSES


def test_a_class_to_test_on_but_not_to_train_on_is_refused(tmp_path):
    message = refusal(with_labels(tmp_path, [0, 1] * 10, [0, 1, 2, 3]))
    assert "test images of class '2', '3' but no training images of it" in message
    message = refusal(with_labels(tmp_path, [0, 1] * 10, [0, 1], x_val=DATA[0][:1], y_val=[4]))
    assert "val images of class '4'" in message


def test_classes_without_test_images_and_rare_ones_are_mentioned(tmp_path):
    dataset = load_dataset(with_labels(tmp_path, [0, 1] * 20 + [2] * 9, [0, 1]))
    path = tmp_path / "own.npz"
    assert dataset.notes == (
        f"{path} has no test image of class '2'.",
        f"{path} has fewer than 10 training images of class '2'.",
    )
    many = load_dataset(with_labels(tmp_path, np.arange(100)))
    assert many.notes[0].endswith("of class '0', '1', '2', '3', '4', 95 more.")


@pytest.mark.parametrize("split", ["train", "test", "val"])
def test_a_split_without_images_is_refused(tmp_path, split):
    counts = {"train": 40, "test": 40, "val": 40, split: 0}
    arrays = {f"x_{name}": DATA[0][:count] for name, count in counts.items()}
    arrays |= {f"y_{name}": DATA[1][:count] for name, count in counts.items()}
    write_npz(tmp_path / "own.npz", DATA, **arrays)
    assert f"has no images for the {split} split" in refusal(tmp_path / "own.npz")


# Order, the share for the test, ink


def test_images_sorted_by_class_are_dealt_out_and_others_stay_in_order(tmp_path):
    labels = np.repeat([0, 1, 2], [300, 60, 30])
    dataset = load_dataset(with_labels(tmp_path, labels))
    for part in np.split(dataset.train_labels, 10):
        np.testing.assert_array_equal(np.bincount(part), [30, 6, 3])
    with np.load(tmp_path / "own.npz") as stored:
        for label in range(
            3
        ):  # within a class they are in order, so what was taken one after another stays together
            ours = dataset.train_images[dataset.train_labels == label]
            np.testing.assert_array_equal(ours, stored["x_train"][labels == label])
        np.testing.assert_array_equal(dataset.test_labels, labels)
    mixed = np.random.default_rng(0).permutation(labels)
    np.testing.assert_array_equal(load_dataset(with_labels(tmp_path, mixed)).train_labels, mixed)


def test_the_genuine_order_of_mnist_stays(mnist_dir):
    labels = load_dataset(mnist_dir / "fashion_mnist").train_labels
    np.testing.assert_array_equal(labels, load_dataset("fashion_mnist", mnist_dir).train_labels)


def test_a_share_is_held_out_by_the_hash_of_the_contents_a_seventh_of_each_class():
    labels = np.repeat([0, 1, 2, 3], [700, 70, 7, 1])
    hashes = np.random.default_rng(0).integers(0, 2**63, len(labels), np.int64).astype(np.uint64)
    held_out = hold_out(labels, hashes)
    np.testing.assert_array_equal(np.bincount(labels[held_out], minlength=4), [100, 10, 1, 0])
    order = np.random.default_rng(1).permutation(len(labels))
    np.testing.assert_array_equal(hold_out(labels[order], hashes[order]), held_out[order])
    more = np.concatenate([labels, np.zeros(7, int)])
    added = hold_out(more, np.concatenate([hashes, np.arange(2**62, 2**62 + 7, dtype=np.uint64)]))
    assert np.sum(added[: len(labels)] != held_out) <= 1


def test_equal_images_are_on_one_side():
    labels, hashes = np.zeros(70, int), np.repeat(np.arange(7, dtype=np.uint64), 10)
    hashes[9] = 1  # the tenth place is in the middle of eleven equal ones
    held_out = hold_out(labels, hashes)
    for value in range(7):
        assert len(set(held_out[hashes == value])) == 1


def test_a_class_of_equal_images_keeps_them_and_there_must_be_others(tmp_path):
    equal = np.ones((20, 28, 28), np.uint8)
    labels = np.arange(20) % 2
    np.savez(tmp_path / "own.npz", x_train=equal, y_train=labels)
    assert "too few different images to hold out any for test" in refusal(tmp_path / "own.npz")
    equal[::2] += np.arange(10, dtype=np.uint8)[:, None, None]
    np.savez(tmp_path / "own.npz", x_train=equal, y_train=labels)
    dataset = load_dataset(tmp_path / "own.npz")
    assert dataset.describe() == "npz: 2 classes, 19 train, 1 test"
    assert "has no test image of class '1'" in dataset.notes[0]


def test_without_a_test_split_formats_of_arrays_hold_out_the_same_images(tmp_path):
    data = some_images(210, 1)
    np.savez(tmp_path / "own.npz", x_train=data[0], y_train=data[1])
    write_csv(tmp_path / "alone.csv", *data[:2])
    first, second = load_dataset(tmp_path / "own.npz"), load_dataset(tmp_path / "alone.csv")
    assert first.fingerprint == second.fingerprint
    assert first.describe() == "npz: 3 classes, 180 train, 30 test"
    assert "one image in 7 of each class, by the hash" in first.places["test"]
    together = np.concatenate([first.train_images, first.test_images])
    assert {image.tobytes() for image in together} == {image.tobytes() for image in data[0]}


def test_the_share_does_not_depend_on_the_fit(tmp_path):
    images = np.zeros((70, 40, 30), np.uint8)
    images[:, 10:30, 10:20] = np.arange(1, 71)[
        :, None, None
    ]  # which tells them apart however they are fitted
    np.savez(tmp_path / "own.npz", x_train=images, y_train=np.arange(70) % 3)
    pad, stretch = (load_dataset(tmp_path / "own.npz", fit=fit) for fit in ("pad", "stretch"))
    assert pad.fingerprint != stretch.fingerprint
    np.testing.assert_array_equal(pad.test_images.max((1, 2)), stretch.test_images.max((1, 2)))


@pytest.mark.parametrize("kind", KINDS)
def test_dark_ink_is_inverted_in_all_images_or_in_none(tmp_path, kind):
    drawn = some_images(40, 15)
    white = Images(255 - drawn[0], drawn[1], 255 - drawn[2], drawn[3])
    dataset = load_dataset(write(kind, tmp_path, white))
    same(dataset, drawn)
    assert dataset.inverted
    mixed = Images(np.concatenate([white[0][:15], drawn[0][15:]]), *drawn[1:])
    shutil.rmtree(tmp_path / "own", ignore_errors=True)
    dataset = load_dataset(write(kind, tmp_path, mixed))
    same(dataset, mixed)
    assert not dataset.inverted


def test_photographs_are_not_inverted(tmp_path):
    rng = np.random.default_rng(0)
    low = rng.integers(0, 200, (60, 1, 1))
    images = (low + rng.integers(0, 56, (60, 28, 28))).astype(np.uint8)
    data = Images(images, np.arange(60, dtype=np.int32) % 2, images[:4], np.arange(4, dtype=np.int32) % 2)
    same(load_dataset(write_npz(tmp_path / "own.npz", data)), data)


# npz


MEDMNIST = "train_images train_labels test_images test_labels"


def test_medmnists_files_are_read_with_their_val_split_behind_the_training_images(tmp_path):
    val = some_images(9, 1)
    columns = Images(DATA[0], DATA[1][:, None], DATA[2], DATA[3][:, None])
    path = write_npz(tmp_path / "own.npz", columns, MEDMNIST, val_images=val[0], val_labels=val[1][:, None])
    dataset = load_dataset(path)
    assert dataset.val_count == 9
    same(dataset, Images(np.concatenate([DATA[0], val[0]]), np.concatenate([DATA[1], val[1]]), *DATA[2:]))
    assert dataset.describe() == "npz: 3 classes, 40 train, 9 val, 15 test"
    assert list(dataset.places) == ["train", "val", "test"]


@pytest.mark.parametrize(
    "form",
    ["channel", "floats", "doubles", "int64", "float labels", "uint8 labels", "flat", "whole floats", "bool"],
)
def test_images_and_labels_may_have_other_types_and_shapes(tmp_path, form):
    images, labels, expected = DATA[0], DATA[1], DATA[0]
    match form:
        case "channel":
            images = images[..., None]
        case "floats":
            images = (images / 255).astype(np.float32)
        case "doubles":
            images = images / 255
        case "int64":
            images = images.astype(np.int64)
        case "float labels":
            labels = labels.astype(np.float32)
        case "uint8 labels":
            labels = labels.astype(np.uint8)
        case "flat":
            images = images.reshape(len(images), -1)
        case "whole floats":
            images = images.astype(np.float32)
        case "bool":
            images = images > 99
            expected = images * np.uint8(255)
    np.savez(tmp_path / "own.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    same(load_dataset(tmp_path / "own.npz"), Images(expected, DATA[1], expected, DATA[1]))


def test_floats_are_rounded(tmp_path):
    floats = np.where(DATA[0] > 99, 0.6 / 255 + DATA[0] / 256, 0)
    np.savez(tmp_path / "own.npz", x_train=floats, y_train=DATA[1], x_test=floats, y_test=DATA[1])
    np.testing.assert_array_equal(load_dataset(tmp_path / "own.npz").train_images, np.round(255 * floats))


def test_colours_become_grey_as_those_of_files_do(tmp_path):
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 256, (30, 28, 28, 3), np.uint8)
    colour[:, :2] = colour[:, -2:] = colour[:, :, :2] = colour[:, :, -2:] = 0
    data = Images(colour, np.arange(30, dtype=np.int32) % 3, colour[:6], np.arange(6, dtype=np.int32) % 3)
    arrays, files = load_dataset(write("npz", tmp_path, data)), load_dataset(write("folder", tmp_path, data))
    assert arrays.fingerprint == files.fingerprint


def test_other_sizes_are_fitted_as_those_of_files_are(tmp_path):
    data = some_images(shape=(64, 40))
    for fit in ("pad", "stretch", "mnist"):
        shutil.rmtree(tmp_path / "own", ignore_errors=True)
        arrays, files = (load_dataset(write(kind, tmp_path, data), fit=fit) for kind in ("npz", "folder"))
        assert arrays.fingerprint == files.fingerprint
        assert arrays.train_images.shape == (40, 28, 28)


@pytest.mark.parametrize(
    ("arrays", "finding"),
    [
        ({}, "holds no arrays; it needs x_train and y_train"),
        ({"images": DATA[0], "labels": DATA[1]}, "holds images, labels; it needs x_train and y_train"),
        ({"x_train": DATA[0]}, "has x_train and no y_train"),
        ({"x_test": DATA[0], "y_test": DATA[1]}, "it needs x_train"),
        (
            {"x_train": DATA[0], "y_train": DATA[1][:-1]},
            "has 40 images and labels of type int32 and shape [39]",
        ),
        ({"x_train": DATA[0][:, None], "y_train": DATA[1]}, "type uint8 and shape [40, 1, 28, 28]"),
        ({"x_train": DATA[0][0], "y_train": DATA[1]}, "type uint8 and shape [28, 28]"),
        ({"x_train": np.array(["a", "b"]), "y_train": [0, 1]}, "type <U1 and shape [2]"),
        ({"x_train": DATA[0] - 1.0, "y_train": DATA[1]}, "pixels from -1 to"),
        ({"x_train": DATA[0] * 1.5, "y_train": DATA[1]}, "pixels from 0 to 382.5"),
        ({"x_train": DATA[0] * 0.7, "y_train": DATA[1]}, "make them whole numbers from 0 to 255"),
        ({"x_train": DATA[0] * np.nan, "y_train": DATA[1]}, "pixels from nan to nan"),
        ({"x_train": DATA[0].astype(int) * 2, "y_train": DATA[1]}, "pixels from 0 to 510"),
        ({"x_train": DATA[0][:, :0], "y_train": DATA[1]}, "shape [40, 0, 28]"),
    ],
)
def test_arrays_of_no_use_are_refused(tmp_path, arrays, finding):
    np.savez(tmp_path / "own.npz", **arrays)
    assert finding in refusal(tmp_path / "own.npz")


def test_nothing_is_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return pytest.fail, ("it was unpickled",)

    np.savez(tmp_path / "own.npz", x_train=np.array([Trap()]), y_train=[0], allow_pickle=True)
    assert "cannot be read as .npz" in refusal(tmp_path / "own.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"<html>", b"\x93NUMPY\x01\x00"])
def test_a_file_that_is_no_npz_is_refused(tmp_path, content):
    (tmp_path / "own.npz").write_bytes(content)
    assert "cannot be read as .npz" in refusal(tmp_path / "own.npz")


def test_a_damaged_npz_is_refused_or_unharmed(tmp_path):
    x_train, y_train, x_test, y_test = DATA
    np.savez_compressed(tmp_path / "own.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    whole = (tmp_path / "own.npz").read_bytes()
    fingerprint = load_dataset(tmp_path / "own.npz").fingerprint
    for position in range(0, len(whole), len(whole) // 60):
        damaged = bytearray(whole)
        damaged[position] ^= 0x55
        (tmp_path / "own.npz").write_bytes(damaged)
        with contextlib.suppress(DataError):
            assert load_dataset(tmp_path / "own.npz").fingerprint == fingerprint
        (tmp_path / "own.npz").write_bytes(whole[:position])
        refusal(tmp_path / "own.npz")


def test_an_array_that_unpacks_to_more_than_any_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxmnist.data.npz._MAX_BYTES", 10_000)
    assert "more than 10,000 bytes" in refusal(write("npz", tmp_path))
    monkeypatch.undo()
    monkeypatch.setattr("jaxmnist.data.npz.MAX_ITEMS", 20)
    assert "has 40 images where at most 20 are read" in refusal(write("npz", tmp_path))


# CSV


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
@pytest.mark.parametrize("header", [True, False])
def test_kaggles_files_are_read_with_and_without_header(tmp_path, suffix, header):
    write_csv(tmp_path / f"test{suffix}", *DATA[2:], header)
    same(load_dataset(write_csv(tmp_path / f"train{suffix}", *DATA[:2], header)), DATA)


@pytest.mark.parametrize("names", ["mnist_train mnist_test", "own own_test", "train_own test_own", "a b"])
def test_the_test_split_is_in_a_second_file(tmp_path, names):
    train, test = (tmp_path / f"{name}.csv" for name in names.split())
    write_csv(test, *DATA[2:])
    write_csv(train, *DATA[:2])
    if names == "a b":
        assert load_dataset(train).describe() == "csv: 3 classes, 34 train, 6 test"
    dataset = load_dataset(train, test=test if names == "a b" else None)
    same(dataset, DATA)
    assert dataset.places == {"train": str(train), "test": str(test)}


def test_kaggles_own_test_file_has_no_labels_which_is_said(tmp_path):
    train = write_csv(tmp_path / "train.csv", *DATA[:2])
    rows = [",".join(map(str, image.ravel())) for image in DATA[2]]
    (tmp_path / "test.csv").write_text("\n".join([",".join(f"pixel{n}" for n in range(784)), *rows]))
    dataset = load_dataset(train)
    assert dataset.describe() == "csv: 3 classes, 34 train, 6 test"
    assert dataset.notes == (
        f"{tmp_path / 'test.csv'} has pixels without labels, so the test images are a share of {train}.",
    )
    assert "784 columns, pixels without labels like Kaggle's own test.csv" in refusal(
        train, test=tmp_path / "test.csv"
    )


@pytest.mark.parametrize(
    "form", ["words", "quotes", "crlf", "bom", "blank lines", "no end", "numbered", "floats"]
)
def test_csv_files_of_other_programs_are_read(tmp_path, form):
    words = np.array(["cat", "eel", "dog"])[DATA[1]]
    text = csv_text(DATA[0], words if form in ("words", "quotes") else DATA[1]).decode()
    header, *lines = text.splitlines()
    match form:
        case "quotes":
            lines = [f'"{line}'.replace(",", '",', 1) for line in lines]
        case "crlf":
            lines = [f"{line}\r" for line in lines]
        case "bom":
            header = "\ufeff" + header
        case "blank lines":
            lines = [part for line in lines for part in ("", line)]
        case "numbered":  # as pandas names columns that have no names
            header = ",".join(["label", *map(str, range(784))])
        case "floats":
            lines = [line.replace(",", ".0,") + ".0" for line in lines]
    end = "" if form == "no end" else "\n"
    (tmp_path / "own.csv").write_text("\n".join([header, *lines]) + end, newline="", encoding="utf-8")
    shutil.copy(tmp_path / "own.csv", tmp_path / "own_test.csv")
    labels = DATA[1]
    if form in ("words", "quotes"):
        labels = np.array([0, 2, 1], np.int32)[labels]
    dataset = load_dataset(tmp_path / "own.csv")
    same(dataset, Images(DATA[0], labels, DATA[0], labels))
    assert dataset.classes == (("cat", "dog", "eel") if form in ("words", "quotes") else ("0", "1", "2"))


def test_rows_of_floats_from_0_to_1_are_scaled(tmp_path):
    images = DATA[0] / 255
    write_csv(tmp_path / "own.csv", images, DATA[1])
    write_csv(tmp_path / "own_test.csv", images, DATA[1])
    same(load_dataset(tmp_path / "own.csv"), Images(DATA[0], DATA[1], DATA[0], DATA[1]))


def test_rows_of_another_square_are_fitted(tmp_path):
    data = some_images(shape=(8, 8))
    dataset = load_dataset(write("csv", tmp_path, data))
    assert dataset.fingerprint == load_dataset(write("folder", tmp_path, data)).fingerprint


def damaged(text: str, number: int, change) -> bytes:
    lines = text.splitlines()
    lines[number - 1] = change(lines[number - 1])
    return "\n".join(lines).encode()


def test_the_first_of_rows_without_header_may_have_a_byte_order_mark(tmp_path):
    content = b"\xef\xbb\xbf" + csv_text(*DATA[:2], header=False)
    for name in ("own.csv", "own_test.csv"):
        (tmp_path / name).write_bytes(content)
    same(load_dataset(tmp_path / "own.csv"), Images(*DATA[:2], *DATA[:2]))


@pytest.mark.parametrize("gzipped", [False, True])
@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (
            lambda line: line.rpartition(",")[0],
            "has 784 values in line 7 where 785 are a label and 28x28 pixels",
        ),
        (lambda line: line + ",0", "has 786 values in line 7"),
        (lambda line: line.replace(",0,", ",x,", 1), "a pixel that is no number in line 7"),
        (lambda line: line.replace(",0,", ",,", 1), "a pixel that is no number in line 7"),
        (lambda line: line.replace(",0,", ",256,", 1), "pixels from 0 to 256"),
        (lambda line: line.replace(",0,", ",-3,", 1), "pixels from -3 to 255"),
        (lambda line: line.replace(",0,", ",0.5,", 1), "make them whole numbers from 0 to 255"),
        (lambda line: line.replace(",0,", ",nan,", 1), "pixels from nan to nan"),
        (lambda line: line.partition(",")[2].join((",", "")), "has no label in row 6"),
        (lambda line: "1.5" + line[1:], "the label 1.5 at position 5"),
        (lambda line: "-1" + line[1:], "the label -1 at position 5"),
        (lambda line: "4000" + line[1:], "the label 4000 at position 5"),
    ],
)
def test_rows_with_a_fault_are_refused_by_their_number(tmp_path, change, finding, gzipped):
    text = damaged(csv_text(*DATA[:2]).decode(), 7, change)
    path = tmp_path / ("own.csv.gz" if gzipped else "own.csv")
    path.write_bytes(gzip.compress(text) if gzipped else text)
    message = refusal(path)
    assert finding in message
    assert str(path) in message


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        (b"", "has no rows"),
        (b"label," + b",".join([b"x"] * 784) + b"\n", "has no rows"),
        (b"some text\n", "has 1 columns where a label and 784 pixels"),
        (b"a;b;c\n1;2;3\n", "has 1 columns"),
        (b"id,label,file\n1,2,a.png\n", "has 3 columns"),
        (b"\0" * 100, "has 1 columns"),
        (gzip.compress(b"label,x\n" * 999, mtime=0)[:40], "gzip stream ends before"),
    ],
)
def test_a_file_that_is_no_such_table_is_refused(tmp_path, content, finding):
    (tmp_path / "own.csv").write_bytes(content)
    assert finding in refusal(tmp_path / "own.csv")


def test_a_table_is_read_piece_by_piece(tmp_path, monkeypatch):
    path = write("csv", tmp_path)
    monkeypatch.setattr("jaxmnist.data.csv_table._PIECE", 7_000)
    same(load_dataset(path), DATA)
    text = damaged(csv_text(*DATA[:2]).decode(), 37, lambda line: line + ",0")
    path.write_bytes(text)
    assert "in line 37" in refusal(path)
    monkeypatch.setattr("jaxmnist.data.csv_table._PIECE", 1_000)
    assert "a line of more than 1,000 bytes" in refusal(path)


def test_more_rows_than_are_read_are_refused_before_the_rest_is(tmp_path, monkeypatch):
    path = write_csv(tmp_path / "own.csv", *DATA[:2])
    with path.open("ab") as stream:
        stream.write(b"7,1\n" * 10_000)
    monkeypatch.setattr("jaxmnist.data.csv_table._PIECE", 10_000)
    monkeypatch.setattr("jaxmnist.data.csv_table.MAX_ITEMS", 20)
    assert "has more than 20 rows" in refusal(path)


def test_a_table_of_70_000_rows_takes_seconds(tmp_path):
    row = csv_text(*DATA[:2], header=False)
    path = tmp_path / "own.csv"
    path.write_bytes(row * 175)  # a tenth
    times = []
    while not times or (min(times) >= 1 and len(times) < 3):  # other work on the machine only adds time
        start = time.perf_counter()
        load_dataset(path)
        times.append(time.perf_counter() - start)
    assert min(times) < 1
