"""The program as a user runs it: in a process of its own, on the embedded digits."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TRAIN = (sys.executable, str(ROOT / "scripts" / "train.py"))
EVALUATE = (sys.executable, str(ROOT / "scripts" / "evaluate.py"))
EPOCHS = 3
NEW = ("--arch", "second", "--dataset", "digits", "--epochs", str(EPOCHS))


def call(*command: str | Path, code: int = 0, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs a command and asserts its exit code; signal n counts as 128 + n."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, **options)
    got = exit_code(done.returncode)
    assert got == code, f"exit code {got} instead of {code}: {done.stderr.strip()[-500:]}"
    assert "Traceback" not in done.stderr, done.stderr[-500:]
    return done


def exit_code(returncode: int) -> int:
    """Returns an exit code as a shell shows it."""
    return 128 - returncode if returncode < 0 else returncode


def environment(**changes: str) -> dict[str, str]:
    """Returns the environment of this process with changes."""
    return dict(os.environ) | changes


def train(runs: Path, *options: str | Path, **settings: Any) -> Path:
    """Trains from the beginning to the end and returns the run folder, the only one in `runs`."""
    call(*TRAIN, *NEW, "--runs", runs, *options, **settings)
    return only_run(runs)


def only_run(runs: Path) -> Path:
    """Returns the only run in a folder."""
    (run,) = runs.iterdir()
    return run


def rows(run: Path) -> list[dict[str, Any]]:
    """Returns the metrics of every epoch without the times, which differ from run to run."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [without_times(json.loads(line)) for line in lines]


def results(run: Path) -> dict[str, Any]:
    """Returns the results without the time."""
    return without_times(json.loads((run / "results.json").read_text()))


_OF_TIMES = ("seconds", "seal", "metrics_sha256")


def without_times(values: dict[str, Any]) -> dict[str, Any]:
    # The seals of results cover their times.
    return {name: value for name, value in values.items() if name not in _OF_TIMES}
