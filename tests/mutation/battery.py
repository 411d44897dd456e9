"""Runs the tests of a fault on a copy of the repository, in which the fault is."""

import contextlib
import multiprocessing
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

# Libraries are imported once, in a process that is forked for every fault: half of the time of a quick test.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        *(
            "pytest",
            "xdist",
            "hypothesis",
            "chex",
            "jax.numpy",
            "flax.linen",
            "optax",
            "orbax.checkpoint",
            "beartype",
        ),
        *(
            "scipy.stats",
            "scipy.ndimage",
            "sklearn.datasets",
            "matplotlib.figure",
            "PIL.Image",
            "rich.progress",
            "tyro",
        ),
        *("jinja2", "safetensors.numpy", "jaxtyping"),
    ]
)

_FINISHED = 100  # added to pytest's exit codes, as Python itself ends with 1 after an error

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
    first: Verdict | None = None
    """The verdict when it was first tried, before any test was written for it."""


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
    return Outcome(
        fault.name, fault.room, fault.digest, verdict, round(time.perf_counter() - began, 1), verdict
    )


def run_tests(tests: Sequence[str], copy: Path) -> int | None:
    """Runs tests of the copy in a process of their own.

    Returns:
        Pytest's exit code; None if the tests do not end, and a number below 0 if the process ends before them.
    """
    process = _CONTEXT.Process(target=_test, args=(copy, tests))
    process.start()
    process.join(SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
        return None
    return (process.exitcode or 0) - _FINISHED


def _test(copy: Path, tests: Sequence[str]) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]
    sys.path[:] = [str(copy), *(path for path in sys.path if path and Path(path).resolve() != ROOT)]
    os.chdir(copy)
    # A compiled program is the same wherever its source lies.
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "d" / "xla"))
    os.environ["PYTHONPATH"] = str(copy)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    import pytest

    imported_early = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
    os._exit(_FINISHED + int(pytest.main(["-n", "0", "-x", "-q", "--tb=no", *imported_early, *tests])))


def _verdict(code: int | None) -> Verdict:
    # Other codes: the tests do not exist, or the package cannot be imported, which nobody would overlook.
    verdicts: dict[int | None, Verdict] = {0: "survived", 1: "caught", None: "caught"}
    return verdicts.get(code, "not applicable")


def _write(file: Path, source: str) -> None:
    file.write_text(source)
    # Python trusts a compiled file if time, in seconds, and size of the source are the same.
    for compiled in file.parent.glob(f"__pycache__/{file.stem}.*"):
        compiled.unlink()
