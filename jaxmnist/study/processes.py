"""A study in several processes: each trains one seed at a time, and gets the next one when that is finished.

A child reads seeds from its standard input and tells how it goes on its standard output, in lines of JSON. Where the
input ends while it trains, the parent has been told to end, or is gone: the child saves its state and ends.
"""

import contextlib
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxmnist.errors import InterruptedRunError, JaxmnistError, JaxmnistWarning
from jaxmnist.signals import StopSignals
from jaxmnist.study.folder import Study, is_finished, read_study
from jaxmnist.study.loop import GO_ON, SeedObserver, train_seeds

SECONDS_TO_STOP = 30.0
"""After a signal: time for all children to save."""


class Settings(NamedTuple):
    """What a child has to know besides the study."""

    data_dir: Path | None
    compile_cache: bool
    keep_checkpoints: bool


class ChildError(JaxmnistError):
    """A child ended with an error; it has said which."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("a process of the study ended early, see above; what is finished is kept.")
        self.exit_code = exit_code


def train_in_processes(
    study: Study, seeds: Sequence[int], processes: int, observer: SeedObserver, settings: Settings
) -> None:
    """Trains seeds in so many processes on the CPU, whose cores they share out.

    Raises:
        InterruptedRunError: SIGINT or SIGTERM arrived; the children have saved their states.
        ChildError: a child failed; the others were ended, their states saved.
    """
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for seed in seeds:
        waiting.put(seed)
    lock = threading.Lock()
    with StopSignals(SECONDS_TO_STOP, f"interrupted, {GO_ON}") as stop:
        children = [_start(study, settings, cores) for cores in _shared_cores(min(processes, len(seeds)))]
        threads = [
            threading.Thread(target=_drive, args=(child, waiting, observer, lock), daemon=True)
            for child in children
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            for thread in threads:
                thread.join(0.1)
            failed = any(child.poll() not in (None, 0) for child in children)
            if failed or stop.requested is not None:
                break
        for child in children:
            with contextlib.suppress(OSError):
                child.stdin.close()  # pyright: ignore[reportOptionalMemberAccess]
        codes = [child.wait() for child in children]
        for thread in threads:
            thread.join()
        if stop.requested is not None:
            raise InterruptedRunError(stop.requested, study.folder, GO_ON)
    if wrong := [code for code in codes if code not in (0, 128 + signal.SIGTERM)]:
        raise ChildError(wrong[0] if 0 < wrong[0] < 128 else 1)
    if not all(is_finished(study, seed) for seed in seeds):
        raise ChildError(1)


def _shared_cores(processes: int) -> Iterator[set[int] | None]:
    """The cores of each process; none where the system has no say in that, or there are fewer than processes."""
    if not hasattr(os, "sched_getaffinity"):
        yield from [None] * processes
        return
    cores = sorted(os.sched_getaffinity(0))
    for index in range(processes):
        yield set(cores[index::processes]) or None


def _start(study: Study, settings: Settings, cores: set[int] | None) -> subprocess.Popen[str]:
    work = {**settings._asdict(), "folder": str(study.folder)}
    work["data_dir"] = None if settings.data_dir is None else str(settings.data_dir)
    code = "from jaxmnist.study.processes import work; work()"
    own = os.sched_getaffinity(0) if cores else set()
    # A child has the cores that its parent has at its start.
    if cores:
        os.sched_setaffinity(0, cores)
    try:
        child = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # A Ctrl-C is for the parent, which has the children end in order.
            start_new_session=True,
        )
    finally:
        if cores:
            os.sched_setaffinity(0, own)
    _tell(child, work)
    return child


def _drive(
    child: subprocess.Popen[str],
    waiting: "queue.SimpleQueue[int]",
    observer: SeedObserver,
    lock: threading.Lock,
) -> None:
    """Hands seeds to a child until there are no more, and passes on what it tells."""
    with contextlib.suppress(queue.Empty, OSError, ValueError):
        _tell(child, waiting.get_nowait())
        for line in child.stdout or ():
            told: Mapping[str, Any] = json.loads(line)
            with lock:
                if "row" in told:
                    observer.on_epoch(told["seed"], told["row"])
                elif "done" in told:
                    observer.on_progress(told["seed"], told["epoch"], told["done"], told["total"])
                else:
                    observer.on_seed(told["seed"])
            if "finished" in told:
                _tell(child, waiting.get_nowait())
        return
    with contextlib.suppress(OSError):
        child.stdin.close()  # pyright: ignore[reportOptionalMemberAccess]


def _tell(child: subprocess.Popen[str], value: Any) -> None:
    stdin: Any = child.stdin
    stdin.write(json.dumps(value) + "\n")
    stdin.flush()


def work() -> None:
    """What a child does; ends the process."""
    from jaxmnist.data import load_dataset
    from jaxmnist.parallel import select_device, use_compile_cache
    from jaxmnist.runs import environment, require_data_of_run

    logging.getLogger("absl").setLevel(logging.ERROR)
    warnings.simplefilter("always", JaxmnistWarning)
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    lines = _Lines()
    settings, code = lines.get(), 0
    try:
        device = select_device("cpu")
        if settings["compile_cache"]:
            use_compile_cache()
        study = read_study(Path(settings["folder"]))
        dataset = load_dataset(study.config.dataset, settings["data_dir"])
        require_data_of_run(study.config, dataset, study.folder)
        while (seed := lines.get()) is not None:
            with lines.busy():
                arguments = study, [seed], dataset, device, _Teller(), environment(device)
                train_seeds(*arguments, keep_checkpoints=settings["keep_checkpoints"])
    except InterruptedRunError as error:
        code = error.exit_code
    except JaxmnistError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    sys.stdout.flush()
    # The reader of the input would keep the process.
    os._exit(code)


class _Lines:
    """Lines of standard input as they come; where they end during work, the process is told to end."""

    def __init__(self) -> None:
        self._values: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._busy = self._ended = False
        self._lock = threading.Lock()
        threading.Thread(target=self._read, daemon=True).start()

    def get(self) -> Any:
        return self._values.get()

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        with self._lock:
            self._busy = True
            if self._ended:
                os.kill(os.getpid(), signal.SIGTERM)
        yield
        with self._lock:
            self._busy = False

    def _read(self) -> None:
        for line in sys.stdin:
            self._values.put(json.loads(line))
        with self._lock:
            self._ended = True
            self._values.put(None)
            if self._busy:
                os.kill(os.getpid(), signal.SIGTERM)


class _Teller:
    """An observer that tells the parent."""

    def on_progress(self, seed: int, epoch: int, done: int, total: int) -> None:
        self._tell({"seed": seed, "epoch": epoch, "done": done, "total": total})

    def on_epoch(self, seed: int, row: Mapping[str, Any]) -> None:
        self._tell({"seed": seed, "row": dict(row)})

    def on_seed(self, seed: int) -> None:
        self._tell({"seed": seed, "finished": True})

    def _tell(self, values: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):
            print(json.dumps(values), flush=True)
