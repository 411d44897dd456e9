"""Runs that are ended at random times and resumed."""

import shutil
import signal
import subprocess
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tests.torture import program, states, steps
from tests.torture.battery import Attack, Trial

KILLS_OF_A_RUN = 5
"""Number of times one run is killed, if it lasts that long, before it may end."""

SECONDS_TO_END = 2.0

DEAF_SECONDS = 1.5
"""Time after which a new process is sure to handle signals; before its first line of Python they end it."""


def kill_at_random_times(trials: int, folder: Path, random: np.random.Generator) -> Iterator[Trial]:
    """Sends SIGKILL at random times, every other time during a save; each run is resumed until it is complete.

    A trial is one kill. The last trial of a run also compares its end with that of an uninterrupted run.
    """
    whole = program.train(folder / "whole")
    for first in range(0, trials, KILLS_OF_A_RUN):
        kills = min(KILLS_OF_A_RUN, trials - first)
        run: list[Path] = []
        for number in range(kills):

            def kill(
                first: int = first, number: int = number, kills: int = kills, run: list[Path] = run
            ) -> None:
                runs = folder / f"{first}"
                process = _start(runs, run)
                _wait_for_run(process, runs, run)
                if number % 2:
                    _wait_for_save(process, run[0])
                    time.sleep(random.uniform(0, 0.15))
                else:
                    time.sleep(random.uniform(0, 4.0))
                process.kill()
                process.communicate()
                assert_loads(run[0])
                if number == kills - 1:
                    finish(run[0])
                    states.assert_equal_runs(run[0], whole)
                    shutil.rmtree(runs)

            yield kill


def signals_at_random_times(trials: int, folder: Path, random: np.random.Generator) -> Iterator[Trial]:
    """Sends SIGTERM and SIGINT at random times, start-up included; then the run is resumed to its end."""
    yield from _signals(trials, folder, random, (signal.SIGTERM, signal.SIGINT))


def hang_ups_at_random_times(trials: int, folder: Path, random: np.random.Generator) -> Iterator[Trial]:
    """Sends SIGHUP, as a closed terminal does, at random times; then the run is resumed to its end."""
    yield from _signals(trials, folder, random, (signal.SIGHUP,))


def _signals(
    trials: int, folder: Path, random: np.random.Generator, signals: Sequence[signal.Signals]
) -> Iterator[Trial]:
    whole = program.train(folder / "whole")
    for trial in range(trials):

        def interrupt(trial: int = trial) -> None:
            runs, signum = folder / f"{trial}", signals[trial % len(signals)]
            process = _start(runs, [])
            if trial % 5:
                run: list[Path] = []
                _wait_for_run(process, runs, run)
                time.sleep(random.uniform(0, 3.5))
            else:
                time.sleep(DEAF_SECONDS + random.uniform(0, 3.0))
            early = process.poll() is not None
            process.send_signal(signum)
            began = time.perf_counter()
            _, errors = process.communicate(timeout=60)
            seconds = time.perf_counter() - began
            code = program.exit_code(process.returncode)
            assert "Traceback" not in errors, errors[-500:]
            if not early:
                assert code == 128 + signum, f"exit code {code} after signal {signum}: {errors[-300:]}"
                assert seconds < SECONDS_TO_END, f"{seconds:.2f} s until the end: {errors.strip()[-300:]}"
            if runs.exists() and list(runs.iterdir()) and (program.only_run(runs) / "config.json").exists():
                run_folder = program.only_run(runs)
                finish(run_folder)
                states.assert_equal_runs(run_folder, whole)
            shutil.rmtree(runs, ignore_errors=True)

        yield interrupt


def second_signal(trials: int, folder: Path, random: np.random.Generator) -> Iterator[Trial]:
    """Sends a second signal, which ends the process at once."""
    for trial in range(trials):

        def interrupt_twice(trial: int = trial) -> None:
            process = _start(folder / f"{trial}", [])
            _wait_for_run(process, folder / f"{trial}", [])
            time.sleep(random.uniform(0, 2.0))
            process.send_signal(signal.SIGTERM)
            time.sleep(random.uniform(0.01, 0.1))
            process.send_signal(signal.SIGINT)
            began = time.perf_counter()
            process.communicate(timeout=60)
            assert time.perf_counter() - began < 0.5
            assert program.exit_code(process.returncode) in (130, 143)

        yield interrupt_twice


def assert_loads(run: Path) -> None:
    """Asserts that the newest checkpoint of a run, if there is one, can be read."""
    folder = run / "checkpoints"
    if folder.is_dir() and any("." not in state.name for state in folder.iterdir()):
        states.read(run, warns=False)


def finish(run: Path) -> None:
    """Resumes a run to its end in this process, as the start of another would take longer than that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        steps.go_on(run)


def _start(runs: Path, run: list[Path]) -> subprocess.Popen[str]:
    which = ("--resume", run[0]) if run else (*program.NEW, "--runs", runs)
    command = [*map(str, (*program.TRAIN, *which))]
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # a battery under nohup would hand its own deafness down
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _wait_for_run(process: subprocess.Popen[str], runs: Path, run: list[Path]) -> None:
    """Waits until a process has created its run folder, and appends it to `run`."""
    while not run and process.poll() is None:
        if runs.is_dir():
            run += [folder for folder in runs.iterdir() if (folder / "config.json").exists()]
        time.sleep(0.005)
    assert run, "there is no run"


def _wait_for_save(process: subprocess.Popen[str], run: Path) -> None:
    """Waits until a process writes a checkpoint."""
    while process.poll() is None and not list((run / "checkpoints").glob("*.partial")):
        time.sleep(0.0005)


ATTACKS = (
    Attack("kill", 100, 1, kill_at_random_times),
    Attack("signals", 50, 1, signals_at_random_times),
    Attack("hang-ups", 20, 1, hang_ups_at_random_times),
    Attack("second-signal", 10, 1, second_signal),
)
