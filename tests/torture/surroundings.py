"""The real program in unusual surroundings: it works, or ends with a sentence that says why not."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.torture import program
from tests.torture.battery import Attack, Trial

QUICK = ("--arch", "second", "--dataset", "digits", "--epochs", "1")
PREDICT = (sys.executable, str(program.ROOT / "scripts" / "predict.py"))
# Nothing listens on this port.
OFFLINE = {f"{kind}_proxy": "http://127.0.0.1:9" for kind in ("http", "https")} | {"no_proxy": ""}


def odd_folders(trials: int, folder: Path, random: np.random.Generator) -> Iterator[Trial]:
    """Uses places for runs, results and pictures that are missing, forbidden, files, or oddly named."""
    del random
    run = program.train(folder / "good", "--epochs", "1")
    (folder / "file").write_text("")
    (folder / "nowhere").symlink_to(folder / "missing")
    works: tuple[Callable[[], Any], ...] = (
        lambda: _trains(folder, folder / "not" / "yet" / "there"),
        lambda: _trains(folder, folder / "with spaces and 'quotes'"),
        lambda: _trains(folder, folder / "läufe 数字 🙂"),
        lambda: _trains(folder, folder / "two\nlines"),
        lambda: _trains(folder, "-leading-dash"),
        lambda: _trains(folder, folder / ("x" * 255)),
        lambda: _predicts(run, folder / "ü 数字\n-.png"),
    )
    refused: tuple[Callable[[], Any], ...] = (
        lambda: _refused(2, "cannot be written", *program.TRAIN, *QUICK, "--runs", folder / "file"),
        lambda: _refused(2, "cannot be written", *program.TRAIN, *QUICK, "--runs", folder / "file" / "below"),
        lambda: _refused(2, "cannot be written", *program.TRAIN, *QUICK, "--runs", folder / "nowhere"),
        lambda: _refused(2, "cannot be written", *program.TRAIN, *QUICK, "--runs", folder / ("x" * 256)),
        lambda: _refused(2, "too long", *program.TRAIN, *QUICK, "--runs", _deep(folder)),
        lambda: _refused(
            2, "not UTF-8", *program.TRAIN, *QUICK, "--runs", os.fsdecode(bytes(folder) + b"/\xff")
        ),
        lambda: _refused(
            3, "no such folder", *program.TRAIN, "--dataset", "mnist", "--data-dir", folder / "file"
        ),
        lambda: _refused(2, "cannot be written", *program.EVALUATE, run, "--out", folder / "file"),
        lambda: _refused(4, "is not a run folder", *program.EVALUATE, folder / "with \n newline"),
        lambda: _refused_read_only(2, *program.TRAIN, *QUICK, "--runs", folder=folder / "read-only"),
        lambda: _refused_read_only(2, *program.EVALUATE, run, "--out", folder=folder / "read-only"),
    )
    cases = [case for pair in zip(refused, works, strict=False) for case in pair] + list(
        refused[len(works) :]
    )
    for number in range(trials):
        yield cases[number % len(cases)]


def odd_surroundings(trials: int, folder: Path, random: np.random.Generator) -> Iterator[Trial]:
    """Runs without a home, in another locale and time zone, with closed, lost or full streams, without a network."""
    del random
    run = program.train(folder / "good", "--epochs", "1")
    picture = folder / "picture.png"
    Image.new("L", (28, 28)).save(picture)
    train = [*program.TRAIN, *QUICK, "--json", "--runs"]
    predict = [*PREDICT, str(run), str(picture)]

    def without_home() -> None:
        settings = program.environment()
        for name in ("HOME", "XDG_CACHE_HOME", "TFDS_DATA_DIR"):
            settings.pop(name, None)
        # Nor is the user in the password database, so `~` has no meaning.
        folder.parent.chmod(0o755)
        anonymous = {"user": 54_321} if os.geteuid() == 0 and _readable_by_others(run) else {}
        runs = folder / "homeless"
        runs.mkdir()
        runs.chmod(0o777)
        _completes(train, runs, env=settings, **anonymous)

    def with_home_as_file() -> None:
        (folder / "file").write_text("")
        home = str(folder / "file")
        _completes(train, folder / "file-home", env=program.environment(HOME=home, XDG_CACHE_HOME=home))

    def in_turkish() -> None:
        # The capital of i has a dot, and months have other names, if that locale is installed.
        settings = program.environment(LC_ALL="tr_TR.UTF-8", LANG="tr_TR.UTF-8", TZ="Asia/Kathmandu")
        _completes(train, folder / "türkçe", env=settings)

    def in_ascii() -> None:
        settings = program.environment(
            LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", TZ="Nowhere/At_all"
        )
        _completes(train, folder / "ascii", env=settings)

    def offline() -> None:
        settings = program.environment(**OFFLINE, TFDS_DATA_DIR=str(folder / "tfds"), JAXMNIST_DATA_DIR="")
        done = program.call(
            *program.TRAIN, "--dataset", "mnist", "--runs", folder / "off", code=3, env=settings
        )
        assert "connect to the network" in done.stderr, done.stderr
        assert not (folder / "off").exists()

    cases: tuple[Callable[[], None], ...] = (
        lambda: _ends(0, [*train, str(folder / "closed-out")], ">&-"),
        offline,
        without_home,
        lambda: _ends(
            0, [*program.TRAIN, *QUICK, "--runs", str(folder / "head")], "| head -n 1; exit ${PIPESTATUS[0]}"
        ),
        lambda: _ends(1, [*predict, "--json"], ">/dev/full", "standard output was lost"),
        in_ascii,
        in_turkish,
        with_home_as_file,
        lambda: _ends(0, [*train, str(folder / "closed-all")], "<&- >&- 2>&-"),
        lambda: _ends(0, [*train, str(folder / "full-err")], "2>/dev/full"),
        lambda: _ends(0, predict, ">&-"),
    )
    for number in range(trials):
        yield cases[number % len(cases)]


def _trains(folder: Path, runs: str | Path) -> None:
    program.call(*program.TRAIN, *QUICK, f"--runs={runs}", cwd=folder)
    assert (program.only_run(folder / runs) / "results.json").is_file()


def _completes(command: list[str], runs: Path, **options: Any) -> None:
    done = program.call(*command, runs, **options)
    assert json.loads(done.stdout)["epochs"] == 1
    assert (program.only_run(runs) / "results.json").is_file()


def _predicts(run: Path, picture: Path) -> None:
    Image.new("L", (28, 28)).save(picture)
    done = program.call(*PREDICT, run, picture, "--json")
    assert json.loads(done.stdout)["predictions"][0]["file"] == str(picture)


def _refused(code: int, words: str, *command: str | Path) -> None:
    """Asserts that a command ends before training, with an error message that contains these words."""
    done = program.call(*command, code=code)
    assert words in done.stderr, f"{words!r} is not in: {done.stderr}"
    assert done.stderr.count("error: ") == 1, done.stderr
    assert "Epoch" not in done.stdout, "it was trained"


def _refused_read_only(code: int, *command: str | Path, folder: Path) -> None:
    with _read_only(folder) as is_read_only:
        if is_read_only:
            _refused(code, "cannot be written", *command, folder)
        else:
            print(f"  skipped: {folder} cannot be made read-only for root here", file=sys.stderr)


@contextlib.contextmanager
def _read_only(folder: Path) -> Iterator[bool]:
    """Context manager for a folder that not even root can write to; yields False if there can be none."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o555)
    try:
        if not os.access(folder, os.W_OK):
            yield True
            return
        mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", folder], capture_output=True)
        if mount.returncode:
            yield False
            return
        try:
            yield True
        finally:
            subprocess.run(["umount", folder], check=True)
    finally:
        folder.chmod(0o755)


def _deep(folder: Path) -> Path:
    """Returns a path that the system accepts, but too long for the files of a run."""
    while len(bytes(folder)) < 3_900:
        folder /= "x" * 100
    return folder


def _readable_by_others(path: Path) -> bool:
    """True if another user can read a file, the program and its libraries."""
    places = [Path(sys.executable).resolve(), Path(np.__file__), program.ROOT / "scripts", path]
    return all(parent.stat().st_mode & 0o001 for place in places for parent in place.parents)


def _ends(code: int, command: list[str], redirection: str, words: str = "") -> None:
    """Asserts the exit code of a command with a redirection by a shell, and words of its error message."""
    line = f'"$@" {redirection}'
    done = subprocess.run(["bash", "-c", line, "bash", *command], capture_output=True, text=True, timeout=300)
    assert done.returncode == code, f"exit code {done.returncode} instead of {code}: {done.stderr[-500:]}"
    for ugly in ("Traceback", "Exception ignored", "BrokenPipe"):
        assert ugly not in done.stderr, done.stderr[-500:]
    assert words in done.stderr, f"{words!r} is not in: {done.stderr}"


ATTACKS = (
    Attack("odd-folders", 18, 1, odd_folders),
    Attack("odd-surroundings", 11, 1, odd_surroundings),
)
