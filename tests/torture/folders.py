"""Several processes on one folder."""

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jaxmnist.runs.folder import CONFIG
from tests.torture import program, states, steps
from tests.torture.battery import Attack, Trial


def many_runs_on_one_folder(trials: int, folder: Path, random: np.random.Generator) -> Iterator[Trial]:
    """Starts two to four sessions of one run at once; in every fourth trial, new runs in one `--runs` folder.

    One session continues and ends as it would have alone. The others are refused with a sentence and exit code 2, or
    find the run complete.
    """
    whole = steps.trained(folder / "whole")
    config = folder / "config.json"
    config.write_bytes((whole / CONFIG).read_bytes())
    for trial in range(trials):

        def together(trial: int = trial) -> None:
            count = int(random.integers(2, 5))
            place = folder / f"{trial}"
            if trial % 4 == 3:
                options = ("--config", config, "--dataset", "digits", "--runs", place)
                ended = _at_once([options] * count)
                assert [code for code, _ in ended] == [0] * count, f"exit codes {ended}"
                made = list(place.iterdir())
                assert len(made) == count, f"{count} runs made {len(made)} folders"
            else:
                run = steps.stopped(place, 1)
                ended = _at_once([("--resume", run)] * count)
                refused = [said for code, said in ended if code == 2]
                assert {code for code, _ in ended} <= {0, 2}, f"exit codes {ended}"
                assert len(refused) < count, "no session continued"
                assert all("is in use by" in said for said in refused), refused
                made = [run]
            for run in made:
                states.assert_equal_runs(run, whole)

        yield together


def evaluated_while_it_trains(trials: int, folder: Path, random: np.random.Generator) -> Iterator[Trial]:
    """Evaluates a run while it trains, which works and writes nothing into its folder."""
    whole = steps.trained(folder / "whole")
    for trial in range(trials):

        def evaluate(trial: int = trial) -> None:
            run = steps.stopped(folder / f"{trial}", steps.BATCHES + 1)
            process = _start(("--resume", run))
            time.sleep(random.uniform(0, 3))
            which = ("best", "latest")[trial % 2]
            options = ("--checkpoint", which, "--out", folder / f"out-{trial}", "--json")
            program.call(*program.EVALUATE, run, *options)
            _, errors = process.communicate()
            assert process.returncode == 0, errors
            states.assert_equal_runs(run, whole)
            extra = (
                {path.name for path in run.iterdir()} - {path.name for path in whole.iterdir()} - {"plots"}
            )
            assert not extra, f"there are {', '.join(extra)} in the run's folder"

        yield evaluate


def deleted_lock(trials: int, folder: Path, random: np.random.Generator) -> Iterator[Trial]:
    """Deletes the lock of a live run: a second session is refused; the first is killed, and the run resumed."""
    whole = steps.trained(folder / "whole")
    for trial in range(trials):

        def delete(trial: int = trial) -> None:
            run = steps.stopped(folder / f"{trial}", 1)
            first = _start(("--resume", run))
            lock = run / "lock.json"
            while not (lock.is_file() and str(first.pid) in lock.read_text()) and first.poll() is None:
                time.sleep(0.001)
            lock.unlink()
            # Stopped while the second session begins, or it might be over before.
            first.send_signal(signal.SIGSTOP)
            try:
                _, said = _start(("--resume", run)).communicate(timeout=120)
                assert "is in use by" in said, f"a second session began: {said[-300:]}"
            finally:
                first.send_signal(signal.SIGCONT)
            time.sleep(random.uniform(0, 0.5))
            first.kill()
            first.communicate()
            program.call(*program.TRAIN, "--resume", run)
            states.assert_equal_runs(run, whole)

        yield delete


def _at_once(options: list[tuple[str | Path, ...]]) -> list[tuple[int, str]]:
    """Returns exit code and standard error of several training processes that start together."""
    processes = [_start(each) for each in options]
    said = [process.communicate(timeout=240)[1] for process in processes]
    return [(process.returncode, text) for process, text in zip(processes, said, strict=True)]


def _start(options: tuple[str | Path, ...]) -> subprocess.Popen[str]:
    command = [*map(str, (*program.TRAIN, *options))]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


ATTACKS = (
    Attack("runs-on-one-folder", 20, 0, many_runs_on_one_folder),
    Attack("deleted-lock", 20, 0, deleted_lock),
    Attack("evaluated-live", 4, 0, evaluated_while_it_trains),
)
