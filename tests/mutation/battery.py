"""Runs the tests of a fault on a copy of the repository, in which the fault is."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from tests.mutation.faults import Fault

ROOT = Path(__file__).parents[2]

SECONDS = 1200
"""Longest time of the tests of a fault; a test that waits forever has noticed it."""

PROCESSES = ("-n", "0")
"""Options of pytest-xdist."""

Verdict = Literal["caught", "survived", "not applicable"]


class Outcome(NamedTuple):
    """The fate of a fault."""

    name: str
    room: str
    digest: str
    """See `Fault.digest`."""
    verdict: Verdict
    """`not applicable` if the text is not in the file once, or the tests could not begin."""
    seconds: float


@contextlib.contextmanager
def copied(root: Path = ROOT) -> Iterator[Path]:
    """Context manager for a copy of the files of a repository, tracked or new, that goes at the end."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    )
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        for name in filter(None, listed.stdout.split("\0")):
            if (root / name).is_file():
                Path(folder, name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, Path(folder, name))
        yield Path(folder)


def changed_since(revision: str, root: Path = ROOT) -> set[str]:
    """Returns the files that differ from a revision of the repository."""
    command = ["git", "diff", "--name-only", "-z", revision]
    done = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    return set(done.stdout.split("\0"))


def run_fault(fault: Fault, copy: Path) -> Outcome:
    """Puts a fault into the copy, runs its tests up to the first failure, and takes the fault out again."""
    began, file = time.perf_counter(), copy / fault.file
    original = file.read_text() if file.is_file() else ""
    source = fault.applied(original)
    verdict: Verdict = "not applicable"
    if source is not None:
        try:
            _write(file, source)
            verdict = _verdict(run_tests(fault.tests, copy))
        finally:
            _write(file, original)
    return Outcome(fault.name, fault.room, fault.digest, verdict, round(time.perf_counter() - began, 1))


def run_tests(tests: Sequence[str], copy: Path) -> int | None:
    """Runs tests of the copy; returns pytest's exit code, or None if they do not end."""
    command = [sys.executable, "-m", "pytest", *PROCESSES, "-x", "-q", "--tb=no", *tests]
    # A compiled program is the same wherever its source lies.
    cache = os.environ.get("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "d" / "xla"))
    environment = {**os.environ, "PYTHONPATH": str(copy), "JAX_COMPILATION_CACHE_DIR": cache}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        done = subprocess.run(command, cwd=copy, env=environment, timeout=SECONDS, check=False, **quiet)
    except subprocess.TimeoutExpired:
        return None
    return done.returncode


def _verdict(code: int | None) -> Verdict:
    # Other codes: the tests do not exist, or the package cannot be imported, which nobody would overlook.
    verdicts: dict[int | None, Verdict] = {0: "survived", 1: "caught", None: "caught"}
    return verdicts.get(code, "not applicable")


def _write(file: Path, source: str) -> None:
    file.write_text(source)
    # Python trusts a compiled file if time, in seconds, and size of the source are the same.
    for compiled in file.parent.glob(f"__pycache__/{file.stem}.*"):
        compiled.unlink()
