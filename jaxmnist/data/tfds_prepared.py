"""Datasets that TensorFlow Datasets prepared itself, `mnist/3.0.1` say, read without TensorFlow.

Their images are PNG files in `tf.train.Example` records, in the order of the MD5 of their numbers; undone, that order
gives the published one, and a run sees the same batches as from the published files.
"""

import hashlib
import io
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from jaxmnist.runtime.reading import open_regular, require_regular_tree

FORMATS = ("array_record", "tfrecord")
"""Forms of the records that can be read."""

_MAX_BYTES, _MAX_RECORD = 2**30, 2**20
_SPLITS = ("train", "test")


class UnreadableError(ValueError):
    """A prepared dataset that cannot be read; the message is a predicate."""


def find(name: str, root: Path) -> Path | None:
    """Returns the folder of the newest version of a dataset in a cache; None if there is none."""
    folders = [file.parent for file in (root / name).glob("*/dataset_info.json")]
    return max(folders, key=lambda folder: [part.zfill(9) for part in folder.name.split(".")], default=None)


def read(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Reads train images, train labels, test images and test labels, in their published order.

    Raises:
        UnreadableError: the records have another form than `FORMATS`, or are not those of 28x28 images.
        Exception: they are damaged; the libraries raise many kinds.
    """
    require_regular_tree(folder, _MAX_BYTES)
    arrays: list[np.ndarray] = []
    for split in _SPLITS:
        images, labels = zip(*map(_decoded, _records(folder, split)), strict=True)
        place = np.argsort(_order(split, len(labels)))
        arrays += [np.stack(images)[place], np.array(labels, np.int32)[place]]
    train_images, train_labels, test_images, test_labels = arrays
    return train_images, train_labels, test_images, test_labels


def _order(split: str, count: int) -> Sequence[int]:
    """Returns the published number of each record, as TFDS shuffles."""
    salted = hashlib.md5(split.encode(), usedforsecurity=False)

    def key(number: int) -> bytes:
        digest = salted.copy()
        digest.update(str(number).encode())
        return digest.digest()

    return sorted(range(count), key=key)


def _records(folder: Path, split: str) -> Iterator[bytes]:
    for form in FORMATS:
        if files := sorted(folder.glob(f"*-{split}.{form}-*")):
            for file in files:
                yield from _tfrecords(file) if form == "tfrecord" else _array_records(file)
            return
    raise UnreadableError(f"has no records of {split} in the form {' or '.join(FORMATS)}")


def _array_records(file: Path) -> Iterator[bytes]:
    from array_record.python.array_record_module import ArrayRecordReader

    reader = ArrayRecordReader(str(file))
    try:
        yield from reader.read_all()
    finally:
        reader.close()


def _tfrecords(file: Path) -> Iterator[bytes]:
    """Reads records of a length, its checksum, the content and its checksum; the whole is verified by its contents."""
    with open_regular(file) as stream:
        while header := stream.read(12):
            (length,) = struct.unpack("<Q", header[:8])
            content = stream.read(length + 4) if length <= _MAX_RECORD else b""
            if len(content) != length + 4:
                raise UnreadableError(f"is damaged ({file.name} is cut short)")
            yield content[:-4]


def _decoded(record: bytes) -> tuple[np.ndarray, int]:
    from PIL import Image
    from tensorflow_datasets.proto import tf_example_pb2

    example = tf_example_pb2.Example.FromString(record)  # pyright: ignore[reportAttributeAccessIssue]
    feature = example.features.feature
    with Image.open(io.BytesIO(feature["image"].bytes_list.value[0]), formats=("PNG",)) as picture:
        if picture.size != (28, 28) or picture.mode != "L":
            raise UnreadableError("holds other images than 28x28 grey ones")
        return np.asarray(picture), feature["label"].int64_list.value[0]
