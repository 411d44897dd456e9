"""`.npz` files from outside: arrays as NumPy wrote them, or one predicate that says why not."""

import os
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from jaxmnist.runtime import npz
from jaxmnist.runtime.npz import NpzError, read_npz
from jaxmnist.runtime.reading import UnsuitableFileError

MOST = 2**20


def refusal(path, most=MOST):
    with pytest.raises((NpzError, UnsuitableFileError)) as caught:
        read_npz(path, most)
    assert "\n" not in str(caught.value)
    for word in ("allow_pickle", "trust", "unsafe", "max_header_size"):
        assert word not in str(caught.value), "NumPy's advice"
    return str(caught.value)


def write_members(path, *members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def header(text, version=1):
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text.encode()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back_as_numpy_reads_them(tmp_path, save):
    arrays = {
        "a": np.arange(12.0).reshape(3, 4),
        "fortran": np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
        "none": np.zeros((0, 3)),
        "one": np.float16(3),
        "words": np.array(["x", "yy"]),
        "large": np.arange(100_000, dtype=np.int32).byteswap().view(">i4"),
    }
    save(tmp_path / "file.npz", **arrays)
    found = read_npz(tmp_path / "file.npz", MOST)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


def test_unwanted_arrays_come_back_empty(tmp_path):
    np.savez(tmp_path / "file.npz", a=np.ones(3), b=np.array([object()]))
    found = read_npz(tmp_path / "file.npz", MOST, "a".__eq__)
    assert found["a"].tolist() == [1, 1, 1]
    assert found["b"].shape == ()


def test_nothing_is_unpickled_and_no_advice_of_numpys_is_passed_on(tmp_path):
    path = tmp_path / "file.npz"
    np.savez(path, a=np.array([object()]))
    assert refusal(path) == "has Python objects in a, which are never unpickled"
    content = path.read_bytes()
    path.write_bytes(b"bytes in front" + content)
    assert refusal(path) == "is not a .npz file, or is truncated"
    write_members(path, ("a.npy", header(" " * 20_000)))
    assert refusal(path) == "cannot be read (its member a is damaged)"


@pytest.mark.parametrize(
    "content",
    [
        header("(" * 10_000),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (10**13,)}"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000000,)}"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}"),
        header("{'descr': [('a', '<f4')] * 9, 'fortran_order': False, 'shape': ()}"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (5,)}") + bytes(19),
        header("", version=3)[:-4] + b"\xff\xff\xff\xff",
        header("", version=2)[:-4] + b"\xff\xff\xff\xff",
    ],
)
def test_a_header_that_lies_is_damage(tmp_path, content):
    path = write_members(tmp_path / "file.npz", ("a.npy", content))
    assert refusal(path) == "cannot be read (its member a is damaged)"


def test_members_of_the_same_name_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.ones(3))
    content = (tmp_path / "a.npy").read_bytes()
    with pytest.warns(UserWarning, match="Duplicate"):
        path = write_members(tmp_path / "file.npz", ("a.npy", content), ("a.npy", content))
    assert refusal(path) == "has two members named a"
    path = write_members(tmp_path / "file.npz", ("a.npy", content), ("a", content))
    assert refusal(path) == "has two members named a"


def test_a_compression_that_numpy_does_not_use_is_refused(tmp_path):
    path = write_members(tmp_path / "file.npz", ("a.npy", bytes(100)), method=zipfile.ZIP_LZMA)
    assert refusal(path) == "has a compressed in a way that NumPy does not use"


def test_what_unpacks_to_more_than_the_limit_is_refused_unread(tmp_path):
    path = write_members(tmp_path / "file.npz", *((f"{i}.npy", bytes(MOST // 2)) for i in range(3)))
    assert path.stat().st_size < 10_000
    assert refusal(path) == "holds more than 1,048,576 bytes"


def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "file.npz")
    assert refusal(tmp_path / "file.npz") == "it is not a regular file"


def test_a_few_thousand_members_too_many_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "MAX_MEMBERS", 3)
    path = write_members(tmp_path / "file.npz", *((f"{i}.npy", b"") for i in range(4)))
    assert refusal(path) == "has 4 members where at most 3 are read"


MANY = """
import resource, sys
from jaxmnist.runtime.npz import NpzError, read_npz
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_npz(sys.argv[1], 2**30)
except NpzError as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_million_members_are_refused_without_a_table_of_them(tmp_path):
    # By hand: zipfile takes a minute. All entries of the table are the same.
    entry = struct.pack("<4s4B4H3L5H2L", b"PK\x01\x02", 20, 3, 20, *[0] * 11, *[0] * 4)[:46]
    entry = entry[:28] + struct.pack("<H", 5) + entry[30:] + b"a.npy"
    count = 1_000_000
    table = entry * count
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count & 0xFFFF, count & 0xFFFF, len(table), 4, 0)
    (tmp_path / "file.npz").write_bytes(b"PK\x03\x04" + table + end)
    command = [sys.executable, "-c", MANY, str(tmp_path / "file.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    message, kilobytes = done.stdout.splitlines()
    assert message == "has a table of members, or a header of an array, that is far too long"
    unit = 1 if sys.platform == "linux" else 1024
    assert int(kilobytes) / unit < 100_000
