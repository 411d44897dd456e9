"""One run in several processes: if one is killed, the others end in time, and a restart loses nothing."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tests.torture import program, states
from tests.torture.battery import Attack, Trial
from tests.torture.interruptions import assert_loads
from tests.torture.reading import assert_sentence

EPOCHS = 3
NEW = ("--arch", "second", "--dataset", "digits", "--device", "cpu", "--epochs", str(EPOCHS))
SECONDS_TO_END = 30.0
SECONDS_TO_START = 60.0
"""Time in which processes that cannot find each other have ended: 30 s, and a start on a busy machine."""
LOST = 7


def kill_in_training(trials: int, folder: Path, random: np.random.Generator) -> Iterator[Trial]:
    """Sends SIGKILL to each of two or three processes in turn, at a random time of training."""
    yield from _kill(trials, folder, random, in_a_save=False)


def kill_in_saving(trials: int, folder: Path, random: np.random.Generator) -> Iterator[Trial]:
    """Sends SIGKILL while a checkpoint is being written."""
    yield from _kill(trials, folder, random, in_a_save=True)


def wrong_start(trials: int, folder: Path, random: np.random.Generator) -> Iterator[Trial]:
    """Starts two processes with other options, a wrong coordinator, a stranger on its port, or one too few."""
    del random
    others: tuple[tuple[str, ...], ...] = (
        ("--epochs", "2"),
        ("--seed", "9"),
        ("--batch-size", "32"),
        ("--select-on", "test"),
        ("--coordinator", "127.0.0.1:9"),
        ("--coordinator", "192.0.2.1:4321"),  # an address that belongs to nobody
        ("--coordinator", "nowhere.invalid:4321"),
        ("--num-processes", "3"),
        ("--process-id", "0"),
    )
    for trial in range(trials):

        def start_wrong(trial: int = trial) -> None:
            place = folder / f"{trial}"
            if trial % 10 == 9:
                with socket.create_server(("127.0.0.1", 0)) as stranger:  # which accepts and says nothing
                    address = f"127.0.0.1:{stranger.getsockname()[1]}"
                    options = ("--coordinator", address, "--num-processes", "2", "--process-id", "1")
                    members = start(place, 1, *NEW, "--runs", place / "runs", *options)
                    codes = _codes(members)
            else:
                members = start(place, 2, *NEW, "--runs", place / "runs", of_the_last=others[trial % 10])
                codes = _codes(members)
            assert set(codes) <= {2, LOST}, f"exit codes {codes}: {error_lines(place)}"
            for rank in range(len(members)):
                lines = error_lines(place, rank)
                assert len(lines) == 1, f"process {rank} says {lines}"
                assert lines[0].startswith("error: "), lines[0]
                assert_sentence(lines[0])
            assert not list(place.glob("runs/*")), "there is a run folder"

        yield start_wrong


def _codes(members: list[subprocess.Popen[bytes]]) -> list[int]:
    """Waits for processes that cannot find each other and returns their exit codes."""
    deadline = time.monotonic() + SECONDS_TO_START
    try:
        waited = [member.wait(timeout=max(0.1, deadline - time.monotonic())) for member in members]
        return [program.exit_code(code) for code in waited]
    finally:
        for member in members:
            member.kill()
            member.wait()


def _kill(trials: int, folder: Path, random: np.random.Generator, in_a_save: bool) -> Iterator[Trial]:
    seconds = []
    for trial in range(trials):

        def kill(trial: int = trial) -> None:
            count = 2 + trial % 4 // 2
            place = folder / f"{trial}"
            members = start(place, count, *NEW, "--runs", place / "runs")
            run = _wait_for_first_epoch(members, place)
            if in_a_save:
                _wait_for_save(members, run)
                time.sleep(random.uniform(0, 0.05))
            else:
                time.sleep(random.uniform(0, 2.0))
            victim = members[trial % count]
            if victim.poll() is not None:
                raise RuntimeError("the run was over before the kill")
            epochs = _epochs_saved(run)
            victim.send_signal(signal.SIGKILL)
            began = time.monotonic()
            victim.wait()
            rest = [member for member in members if member is not victim]
            codes = [program.exit_code(member.wait(timeout=120)) for member in rest]
            seconds.append(time.monotonic() - began)
            assert seconds[-1] < SECONDS_TO_END, f"{seconds[-1]:.1f} s until the others ended"
            assert codes == [LOST] * len(rest), f"exit codes {codes}: {error_lines(place)}"
            for rank in range(count):
                errors = error_lines(place, rank)
                expected = 0 if members[rank] is victim else 1
                assert len(errors) == expected, f"process {rank} says {errors}"
            assert_loads(run)
            assert _epochs_saved(run) >= epochs, "an epoch was lost"
            # Resume with another number of processes, sometimes one.
            again = 1 + trial % 2
            members = start(place, again, "--device", "cpu", "--resume", run)
            codes = [member.wait(timeout=600) for member in members]
            assert codes == [0] * again, f"exit codes {codes}: {error_lines(place)}"
            lines = program.rows(run)
            assert [line["epoch"] for line in lines] == list(range(1, EPOCHS + 1)), "not every epoch once"
            assert len(program.results(run)) > 0
            states.read(run)

        yield kill
    if seconds:
        print(f"the others ended within {max(seconds):.1f} s", file=sys.stderr, flush=True)


def start(
    place: Path, count: int, *options: str | Path, of_the_last: Sequence[str] = ()
) -> list[subprocess.Popen[bytes]]:
    """Starts the processes of a run; the output of process n goes to `n.out` and `n.err`.

    Args:
        place: folder for the output.
        count: number of processes.
        options: options of all processes.
        of_the_last: further options of the last one, which overrule the others.
    """
    place.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    members = []
    for rank in range(count):
        team = ("--coordinator", address, "--num-processes", count, "--process-id", rank) if count > 1 else ()
        with (place / f"{rank}.out").open("wb") as out, (place / f"{rank}.err").open("wb") as errors:
            own = of_the_last if rank == count - 1 else ()
            command = [*map(str, (*program.TRAIN, *options, *team, *own))]
            members.append(subprocess.Popen(command, stdout=out, stderr=errors, env=dict(os.environ)))
    return members


def train(place: Path, count: int, *options: str | Path) -> Path:
    """Trains from the beginning to the end and returns the run folder."""
    members = start(place, count, *NEW, "--runs", place / "runs", *options)
    codes = [member.wait(timeout=600) for member in members]
    assert codes == [0] * count, f"exit codes {codes}: {error_lines(place)}"
    return program.only_run(place / "runs")


def error_lines(place: Path, rank: int | None = None) -> list[str]:
    """Returns the standard error of all processes or of one, without XLA's warnings on a very busy machine."""
    files = sorted(place.glob("*.err")) if rank is None else [place / f"{rank}.err"]
    lines = [line for file in files for line in file.read_text().splitlines()]
    return [line for line in lines if line and not any(part in line for part in _ALARM)]


_ALARM = ("slow_operation_alarm", "********", "Very slow compile")


def _wait_for_first_epoch(members: list[subprocess.Popen[bytes]], place: Path) -> Path:
    while all(member.poll() is None for member in members):
        for run in (place / "runs").glob("*"):
            if _epochs_saved(run):
                return run
        time.sleep(0.01)
    raise RuntimeError(f"a process ended too early: {error_lines(place)}")


def _wait_for_save(members: list[subprocess.Popen[bytes]], run: Path) -> None:
    while all(member.poll() is None for member in members) and not list(
        (run / "checkpoints").glob("*.partial")
    ):
        time.sleep(0.0005)


def _epochs_saved(run: Path) -> int:
    metrics = run / "metrics.jsonl"
    return len(metrics.read_text().splitlines()) if metrics.exists() else 0


ATTACKS = (
    Attack("kill-a-process", 10, 1, kill_in_training),
    Attack("kill-a-process-in-a-save", 10, 0, kill_in_saving),
    Attack("wrong-start", 10, 0, wrong_start),
)
