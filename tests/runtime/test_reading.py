"""Files from outside: what is no file, or too much, is refused at once and in one phrase."""

import json
import os
import socket
import threading
from pathlib import Path

import pytest

from jaxmnist.runtime import reading
from jaxmnist.runtime.reading import UnsuitableFileError, open_regular, parse_json, read_bytes, read_json


def within_seconds(function, *arguments):
    """Error of a call, which must come back within five seconds."""
    caught = []

    def call():
        try:
            function(*arguments)
        except Exception as error:
            caught.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive(), "it waits"
    return caught[0] if caught else None


def test_a_pipe_a_device_a_socket_and_a_folder_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as unix:
        os.chdir(tmp_path)  # the name of a socket has 107 bytes at most
        unix.bind("socket")
        for path, phrase in (
            (tmp_path / "pipe", "it is not a regular file"),
            ("/dev/zero", "it is not a regular file"),
            ("/dev/null", "it is not a regular file"),
            (tmp_path, "it is a folder"),
        ):
            error = within_seconds(open_regular, path)
            assert isinstance(error, UnsuitableFileError)
            assert (str(error), error.strerror) == (phrase, phrase)
        assert isinstance(within_seconds(open_regular, tmp_path / "socket"), OSError)


def test_a_pipe_with_a_writer_is_refused_before_anything_is_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDWR)
    os.write(reader, b"secret")
    assert within_seconds(read_bytes, tmp_path / "pipe", 100) is not None
    assert os.read(reader, 100) == b"secret"
    os.close(reader)


def test_a_link_to_a_file_is_read_and_one_to_a_device_is_not(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "device").symlink_to("/dev/zero")
    assert read_bytes(tmp_path / "link", 1) == b"x"
    assert within_seconds(read_bytes, tmp_path / "device", 1) is not None


def test_a_file_of_gigabytes_is_refused_by_its_size(tmp_path):
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2**33)
    error = within_seconds(read_bytes, tmp_path / "large", 1_000)
    assert str(error) == "it has more than 1,000 bytes"


def test_a_file_without_a_known_size_is_read_up_to_the_limit():
    # Files of /proc say that they are empty.
    assert Path("/proc/self/maps").stat().st_size == 0
    assert str(within_seconds(read_bytes, "/proc/self/maps", 1_000)) == "it has more than 1,000 bytes"


def test_json_is_an_object_of_finite_numbers_that_is_not_deep(tmp_path):
    path = tmp_path / "file.json"
    for content, phrase in (
        (b'{"a": ' * 30_000 + b"1" + b"}" * 30_000, "it is nested too deeply"),
        (b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}", "it is nested too deeply"),
        (b"[1]", "it is not an object in braces"),
        (b'{"a": NaN}', "NaN is not a finite number"),
        (b'{"a": -1e999}', "-1e999 is not a finite number"),
        (b"\xff", "can't decode byte"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=phrase):
            read_json(path)
    path.write_bytes(b'{"a": ' + b"[" * 98 + b"]" * 98 + b"}")
    assert read_json(path)["a"]


def test_wide_json_is_not_deep():
    assert len(parse_json(json.dumps([[[i]] for i in range(10_000)]))) == 10_000


def test_a_folder_with_anything_but_files_in_it_is_refused(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(bytes(100))
    reading.require_regular_tree(tmp_path, 100)
    with pytest.raises(UnsuitableFileError, match="more than 99 bytes"):
        reading.require_regular_tree(tmp_path, 99)
    os.mkfifo(tmp_path / "a" / "pipe")
    with pytest.raises(UnsuitableFileError, match="not a regular file"):
        reading.require_regular_tree(tmp_path, 100)
