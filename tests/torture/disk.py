"""Full disks: at each write of a session, by a limit on the size of files, on a small file system."""

import contextlib
import errno
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxmnist.errors import JaxmnistError
from tests.torture import program, states, steps
from tests.torture.battery import Attack, Trial

STOPPED_AT = steps.TOTAL - 4
"""Step from which a session has few steps left but makes every kind of write."""


def full_at_each_write(trials: int, folder: Path, random: np.random.Generator) -> Iterator[Trial]:
    """Fails the nth write of a session, or all writes from the nth on, for n from first to last."""
    del random
    whole, stopped = steps.trained(folder / "whole"), steps.stopped(folder / "stopped", STOPPED_AT)
    counted = shutil.copytree(stopped, folder / "counted")
    with _full_disk(counted, lambda number: False) as writes:
        steps.go_on(counted)
    numbers = np.linspace(1, writes[0], trials).round().astype(int).tolist()
    for trial, first in enumerate(numbers):

        def fill(trial: int = trial, first: int = first) -> None:
            run = shutil.copytree(stopped, folder / f"{trial}")
            fails: Callable[[int], bool] = first.__le__ if trial % 2 else first.__eq__
            with _full_disk(run, fails), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with contextlib.suppress(JaxmnistError):
                    steps.go_on(run)
            _assert_intact_and_goes_on(run, whole)

        yield fill


def limited_file_size(trials: int, folder: Path, random: np.random.Generator) -> Iterator[Trial]:
    """Limits the size of files that a real process may write, to a random number of 512-byte blocks."""
    whole, stopped = steps.trained(folder / "whole"), steps.stopped(folder / "stopped", STOPPED_AT)
    for trial in range(trials):

        def limit(trial: int = trial) -> None:
            run = shutil.copytree(stopped, folder / f"{trial}")
            # Through a shell, since a process with JAX must not be forked.
            blocks = int(random.integers(0, 80))
            _assert_ended_well(_resume(run, "sh", "-c", f'ulimit -f {blocks}; exec "$@"', "sh"))
            _assert_intact_and_goes_on(run, whole)

        yield limit


def small_file_system(trials: int, folder: Path, random: np.random.Generator) -> Iterator[Trial]:
    """Fills up a small file system, which only root can mount, while a real process starts on it."""
    whole, stopped = steps.trained(folder / "whole"), steps.stopped(folder / "stopped", STOPPED_AT)
    for trial in range(trials):

        def fill(trial: int = trial) -> None:
            place = folder / f"{trial}"
            place.mkdir()
            mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
            mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
            assert not mounted.returncode, f"run this as root: {mounted.stderr}"
            try:
                run = shutil.copytree(stopped, place / "run")
                process = _resume(run)
                while not (run / "lock.json").read_text() and process.poll() is None:
                    pass
                left = int(random.integers(0, 300_000)) // 4096 * 4096
                with contextlib.suppress(OSError), (place / "ballast").open("wb", buffering=0) as ballast:
                    ballast.write(bytes(max(0, shutil.disk_usage(place).free - left)))
                _assert_ended_well(process)
                (place / "ballast").unlink()
                _assert_intact_and_goes_on(run, whole)
            finally:
                subprocess.run(["umount", str(place)], check=True)

        yield fill


def _assert_intact_and_goes_on(run: Path, whole: Path) -> None:
    assert int(states.read(run).state.step) >= STOPPED_AT, "the old state is lost"
    steps.go_on(run)
    states.assert_equal_runs(run, whole)
    left = [path.name for path in run.rglob(".*")]
    assert not left, f"files are left over: {', '.join(left)}"


def _resume(run: Path, *before: str) -> subprocess.Popen[str]:
    command = [*before, *map(str, (*program.TRAIN, "--resume", run))]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _assert_ended_well(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=120)
    assert process.returncode in (0, 1, 2), f"exit code {process.returncode}: {errors[-500:]}"
    assert "Traceback" not in errors, errors[-500:]
    if process.returncode:
        assert "error: " in errors, "there is no error message"


@contextlib.contextmanager
def _full_disk(run: Path, fails: Callable[[int], bool]) -> Iterator[list[int]]:
    """Context manager in which writes of this process below a folder fail; yields their number so far."""
    _FULL.append((str(run), fails, count := [0]))
    if not _HOOKED:
        sys.addaudithook(_on_event)
        _HOOKED.append(True)
    try:
        yield count
    finally:
        _FULL.pop()


_FULL: list[tuple[str, Callable[[int], bool], list[int]]] = []
_HOOKED: list[bool] = []
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_EVENTS = ("os.rename", "os.mkdir", "os.truncate")


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    # An audit hook cannot be removed, so it must cost nothing while no disk is full.
    if not _FULL or not (event in _EVENTS or event == "open"):
        return
    run, fails, count = _FULL[-1]
    path = arguments[0]
    if event == "open" and not arguments[2] & _WRITING:
        return
    if not isinstance(path, str | os.PathLike) or not str(path).startswith(run):
        return
    count[0] += 1
    if fails(count[0]):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


ATTACKS = (
    Attack("full-disk", 20, 4, full_at_each_write),
    Attack("file-size-limit", 20, 0, limited_file_size),
    Attack("small-file-system", 20, 0, small_file_system),
)
