"""Durable files, and folders locked for one process."""

import errno
import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

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


def test_an_append_that_fails_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "file"
    files.append(path, b"one\n")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.append(path, b"two\n")
    assert path.read_bytes() == b"one\n"


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


def test_a_device_a_pipe_a_folder_and_a_link_are_not_replaced(tmp_path):
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.iterdir())
    for path in (
        tmp_path / "link",
        tmp_path / "nowhere",
        tmp_path / "folder",
        tmp_path / "pipe",
        Path("/dev/null"),
    ):
        with pytest.raises(OSError, match="which is not replaced"):
            files.write_atomically(path, b"new")
        with pytest.raises(OSError, match="which is not replaced"):
            files.append(path, b"new")
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "file").read_text() == "old"
    assert Path("/dev/null").is_char_device()


def test_a_file_being_written_has_a_name_that_nobody_can_have_prepared(tmp_path):
    names = []
    for _ in range(2):
        with files.replacing(tmp_path / "file") as file:
            file.write(b"x")
            (partial,) = (path for path in tmp_path.iterdir() if path.name != "file")
            names.append(partial.name)
    assert names[0] != names[1]
    assert all(len(name) >= 32 and "file" not in name for name in names)


def test_a_name_that_exists_all_the_same_is_not_followed(tmp_path, monkeypatch):
    (tmp_path / "treasure").write_text("old")
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "guessed")
    (tmp_path / ".guessed.partial").symlink_to(tmp_path / "treasure")
    with pytest.raises(FileExistsError):
        files.write_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "treasure").read_text() == "old"
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_files_have_the_mode_that_the_umask_gives(tmp_path, umask):
    before = os.umask(umask)
    try:
        files.write_atomically(tmp_path / "file", b"x")
        files.append(tmp_path / "lines", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~umask
    assert (tmp_path / "lines").stat().st_mode & 0o777 == 0o666 & ~umask


def test_an_interrupted_write_leaves_nothing_behind(tmp_path):
    def write():
        with files.replacing(tmp_path / "file") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_moved_folder_is_found_and_a_deleted_one_is_known_to_be_gone(tmp_path):
    (tmp_path / "a").mkdir()
    with files.whereabouts(tmp_path / "a") as now:
        assert now() == tmp_path / "a"
        (tmp_path / "a").rename(tmp_path / "b")
        assert now() == tmp_path / "b"
        (tmp_path / "a").mkdir()  # another one
        assert now() == tmp_path / "b"
        (tmp_path / "b").rmdir()
        assert now() is None


def test_a_pipe_in_place_of_the_lock_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / files.LOCK)
    with pytest.raises(UsageError, match="cannot be written"), files.locked(tmp_path):
        pass
