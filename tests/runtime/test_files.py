"""Files that are written whole or not at all, and folders that are held."""

import json
import os
import subprocess
import sys

import pytest

from jaxmnist.errors import UsageError
from jaxmnist.runtime import files as durable

HOLD = """
import sys, time
from pathlib import Path
from jaxmnist.durable import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_file_is_the_old_one_until_it_is_the_new_one(tmp_path, monkeypatch):
    path = tmp_path / "file"
    durable.write_atomically(path, "old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable, "sync", full)
    with pytest.raises(OSError, match="No space left"):
        durable.write_atomically(path, b"new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    monkeypatch.undo()
    durable.write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_folder_is_held_by_one_process_and_free_once_that_is_killed(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(UsageError, match=f"is in use by process {holder.pid} on ") as error,
            durable.locked(tmp_path),
        ):
            pass
        assert error.value.exit_code == 2
        holder.kill()
    # The lock's file is still there, and says who held it.
    assert json.loads((tmp_path / durable.LOCK).read_text())["pid"] == holder.pid
    with durable.locked(tmp_path):
        assert json.loads((tmp_path / durable.LOCK).read_text())["pid"] == os.getpid()


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path):
    with pytest.raises(UsageError, match="cannot be written to"), durable.locked(tmp_path / "missing"):
        pass


def test_a_folder_is_removed_with_what_an_earlier_removal_left(tmp_path):
    for name in ("a", "a.removed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    durable.remove_tree(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
