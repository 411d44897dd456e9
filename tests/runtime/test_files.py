"""Durable files, and folders locked for one process."""

import errno
import fcntl
import json
import os
import subprocess
import sys

import pytest

from jaxmnist.errors import JaxmnistWarning, UsageError
from jaxmnist.runtime import files

HOLD = """
import sys, time
from pathlib import Path
from jaxmnist.runtime.files import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_file_is_the_old_one_until_it_is_the_new_one(tmp_path, monkeypatch):
    path = tmp_path / "file"
    files.write_atomically(path, "old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "sync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write_atomically(path, b"new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    monkeypatch.undo()
    files.write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_locked_folder_is_refused_and_free_once_its_process_is_killed(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(
                UsageError, match=f"in use by process {holder.pid} on .*; wait for that process or end it"
            ) as error,
            files.locked(tmp_path),
        ):
            pass
        assert error.value.exit_code == 2
        holder.kill()
    # The file stays, with the name of the process that was killed.
    assert json.loads((tmp_path / files.LOCK).read_text())["pid"] == holder.pid
    with files.locked(tmp_path):
        assert json.loads((tmp_path / files.LOCK).read_text())["pid"] == os.getpid()


def test_a_lock_file_that_is_deleted_lets_no_other_process_in(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        (tmp_path / files.LOCK).unlink()
        with pytest.raises(UsageError, match="in use by another process"), files.locked(tmp_path):
            pass
        holder.kill()
    with files.locked(tmp_path) as require_lock:
        (tmp_path / files.LOCK).unlink()
        require_lock()


def test_where_folders_cannot_be_locked_a_deleted_lock_file_ends_the_work(tmp_path, only_files_lock):
    with files.locked(tmp_path) as require_lock:
        require_lock()
        with pytest.raises(UsageError, match="in use by process"), files.locked(tmp_path):
            pass
        (tmp_path / files.LOCK).unlink()
        for _ in range(2):
            with pytest.raises(UsageError, match=r"lock\.json was deleted .* another one may use it too"):
                require_lock()
            (tmp_path / files.LOCK).touch()


def test_where_nothing_can_be_locked_that_is_said(tmp_path, monkeypatch):
    def lock(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", lock)
    with pytest.warns(JaxmnistWarning, match="cannot be locked on this file system"), files.locked(tmp_path):
        pass


def test_a_folder_that_is_not_writable_is_refused(tmp_path):
    message = r"the run folder .* cannot be written \(No such file or directory\); make it writable"
    with pytest.raises(UsageError, match=message), files.locked(tmp_path / "missing"):
        pass


def test_a_folder_is_removed_with_what_an_earlier_removal_left(tmp_path):
    for name in ("a", "a.removed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    files.remove_tree(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_in_place_of_the_lock_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / files.LOCK)
    with pytest.raises(UsageError, match="cannot be written"), files.locked(tmp_path):
        pass
