"""The IDX reader accepts MNIST and refuses everything else with one sentence about the fault."""

import gzip
import os
import shutil
import struct
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmnist.data import idx
from jaxmnist.errors import DataError

IMAGES = np.arange(3 * 28 * 28).reshape(3, 28, 28).astype(np.uint8)
LABELS = np.array([0, 9, 5], np.uint8)


def encode(array: np.ndarray, *, element_type: int = 8) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, element_type, array.ndim, *array.shape) + array.tobytes()


def write_set(folder: Path, images: np.ndarray = IMAGES, labels: np.ndarray = LABELS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for images_name, labels_name in (idx.TRAIN_FILES, idx.TEST_FILES):
        (folder / images_name).write_bytes(encode(images))
        (folder / f"{labels_name}.gz").write_bytes(gzip.compress(encode(labels)))
    return folder


def refusal(read, path: Path, content: bytes | None = None) -> str:
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(path)
    message = str(caught.value)
    assert str(path) in message, "the message names the file"
    assert message.endswith("."), "the message is a sentence"
    assert ". " not in message, "and only one"
    return message


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_images_and_labels_come_back_as_written_plain_or_gzip_under_any_name(tmp_path, compress, suffix):
    path = tmp_path / f"file{suffix}"
    path.write_bytes(compress(encode(IMAGES)))
    images = idx.read_images(path)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, IMAGES)
    path.write_bytes(compress(encode(LABELS)))
    labels = idx.read_labels(path)
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, LABELS)


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>404</html>", "is a web page"),
        (b"\n<html>", "is a web page"),
        (b"PK\x03\x04 some zip archive", "starts with the bytes 50 4b 03 04"),
        (b"\0\0\x08", "starts with the bytes 00 00 08"),
        (encode(IMAGES)[:10], "ends inside its header"),
        (encode(LABELS), "labels: are images and labels swapped?"),
        (encode(IMAGES[:, :, :, None]), "has 4 dimensions"),
        (encode(IMAGES.astype(">f4"), element_type=13), "holds float32 elements"),
        (encode(IMAGES, element_type=0x77), "holds type 0x77 elements"),
        (encode(IMAGES[:, :27]), "holds images of 27x28 pixels where 28x28"),
        (encode(IMAGES[:0]), "holds no images at all"),
        (encode(IMAGES)[:-1], "holds only 2,351 bytes of data where its header promises 2,352"),
        (encode(IMAGES) + b"\0", "holds more bytes of data where its header promises 2,352"),
        (encode(IMAGES)[:16], "holds only 0 bytes"),
        (
            struct.pack(">BBBB3I", 0, 0, 8, 3, 2**32 - 1, 28, 28),
            "promises 4,294,967,295 images where at most 1,000,000",
        ),
    ],
)
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_anything_but_an_image_file_is_refused_with_its_fault(tmp_path, content, finding, compress):
    assert finding in refusal(idx.read_images, tmp_path / "images", compress(content))


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        (encode(IMAGES), "images: are images and labels swapped?"),
        (encode(np.array([3, 10, 255], np.uint8)), "the label 10 at position 1"),
        (encode(LABELS[:0]), "holds no labels at all"),
        (
            struct.pack(">BBBBI", 0, 0, 8, 1, 2**32 - 1),
            "promises 4,294,967,295 labels where at most 1,000,000",
        ),
    ],
)
def test_anything_but_a_label_file_is_refused_with_its_fault(tmp_path, content, finding):
    assert finding in refusal(idx.read_labels, tmp_path / "labels", content)


def test_a_truncated_gzip_file_is_refused_at_any_length(tmp_path):
    whole = gzip.compress(encode(IMAGES))
    for length in range(2, len(whole), 7):
        assert "cut short" in refusal(idx.read_images, tmp_path / "cut.gz", whole[:length])


def test_a_gzip_file_whose_checksum_or_length_does_not_fit_is_refused(tmp_path):
    whole = gzip.compress(encode(IMAGES))
    for position in (-8, -1):  # CRC-32 of the contents, length of the contents
        damaged = bytearray(whole)
        damaged[position] ^= 1
        assert "damaged inside its gzip stream" in refusal(idx.read_images, tmp_path / "a.gz", bytes(damaged))


def test_a_gzip_file_with_trailing_bytes_is_refused(tmp_path):
    content = gzip.compress(encode(IMAGES)) + b"something"
    assert "damaged inside its gzip stream" in refusal(idx.read_images, tmp_path / "a.gz", content)


def test_a_gzip_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "bomb.gz"
    with gzip.GzipFile(path, "wb", compresslevel=1) as stream:
        stream.write(encode(IMAGES) + bytes(2**26))
    read = []

    class Counting(gzip.GzipFile):
        def read(self, size: int | None = -1) -> bytes:
            content = super().read(size)
            read.append(len(content))
            return content

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(idx.gzip, "GzipFile", Counting)
        assert "holds more bytes" in refusal(idx.read_images, path)
    assert sum(read) == 16 + IMAGES.nbytes + 1


def test_a_large_file_takes_no_more_memory_than_its_array(tmp_path):
    shape = (250_000, 28, 28)
    with gzip.GzipFile(tmp_path / "large.gz", "wb", compresslevel=1) as stream:
        stream.write(struct.pack(">BBBB3I", 0, 0, 8, 3, *shape))
        for _ in range(250):
            stream.write(bytes(1000 * 28 * 28))
    tracemalloc.start()
    try:
        assert idx.read_images(tmp_path / "large.gz").shape == shape
        assert tracemalloc.get_traced_memory()[1] < 1.05 * 250_000 * 28 * 28
    finally:
        tracemalloc.stop()


def test_a_folder_or_a_pipe_in_place_of_a_file_is_refused_at_once(tmp_path):
    (tmp_path / "folder").mkdir()
    assert "is a folder" in refusal(idx.read_images, tmp_path / "folder")
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in refusal(idx.read_images, tmp_path / "pipe")


def test_a_missing_file_is_refused(tmp_path):
    assert "No such file" in refusal(idx.read_labels, tmp_path / "nothing")


def test_an_unreadable_file_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "secret"
    path.write_bytes(encode(IMAGES))

    def refuse(*_args):  # permissions do not stop root, who runs tests in containers
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(idx, "open_regular", refuse)
    assert "Permission denied" in refusal(idx.read_images, path)


def test_different_numbers_of_images_and_labels_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"3 images and .* 2 labels"):
        idx.read_folder(write_set(tmp_path, labels=LABELS[:2]))


def test_a_folder_with_one_file_missing_is_refused_by_the_name_of_that_file(tmp_path):
    folder = write_set(tmp_path)
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"has no t10k-labels-idx1-ubyte \(plain or .gz\)"):
        idx.read_folder(folder)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_the_published_files_load_in_under_a_second(mnist_dir, name):
    start = time.perf_counter()
    train_images, train_labels, test_images, test_labels = idx.read_folder(mnist_dir / name)
    seconds = time.perf_counter() - start
    assert train_images.shape == (60_000, 28, 28)
    assert test_images.shape == (10_000, 28, 28)
    assert train_labels.shape == (60_000,)
    assert test_labels.shape == (10_000,)
    assert seconds < 1


def test_every_single_flipped_byte_of_a_published_label_file_is_noticed(mnist_dir, tmp_path):
    whole = (mnist_dir / "mnist" / "t10k-labels-idx1-ubyte.gz").read_bytes()
    # The first 33 bytes are the gzip header; its time and file name say nothing about the contents.
    for position in range(33, len(whole), 97):
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        refusal(idx.read_labels, tmp_path / "labels.gz", bytes(damaged))


def read_or_refuse(content: bytes) -> None:
    """Asserts that any bytes give a valid array or a `DataError`."""
    folder = Path(tempfile.mkdtemp())
    try:
        (folder / "file").write_bytes(content)
        for read, shape, dtype in (
            (idx.read_images, (28, 28), np.uint8),
            (idx.read_labels, (), np.int32),
        ):
            try:
                array = read(folder / "file")
            except DataError:
                continue
            assert array.dtype == dtype
            assert array.shape[1:] == shape
            assert len(array) > 0
    finally:
        shutil.rmtree(folder)


@settings(max_examples=150, deadline=None)
@given(
    zeros=st.binary(min_size=2, max_size=2) | st.just(b"\0\0"),
    element_type=st.integers(0, 255) | st.just(8),
    sizes=st.lists(st.integers(0, 2**32 - 1) | st.sampled_from([0, 1, 28]), max_size=5),
    data=st.binary(max_size=2000),
    compress=st.booleans(),
)
def test_any_header_is_read_or_refused(zeros, element_type, sizes, data, compress):
    header = zeros + bytes([element_type, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes)
    read_or_refuse(gzip.compress(header + data) if compress else header + data)


@settings(max_examples=150, deadline=None)
@given(
    array=st.sampled_from([IMAGES, LABELS]),
    compress=st.booleans(),
    edits=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=3),
    length=st.none() | st.integers(0, 3000),
    tail=st.binary(max_size=20),
)
def test_any_damage_is_read_or_refused(array, compress, edits, length, tail):
    content = bytearray(encode(array))
    if compress:
        content = bytearray(gzip.compress(content))
    for position, value in edits:
        content[position % len(content)] = value
    read_or_refuse(bytes(content[:length]) + tail)
