"""Seeds of studies in several processes: each trains one at a time, and gets the next one when that is finished.

A child reads jobs from its standard input and tells how it goes on its standard output, in lines of JSON. Where the
input ends while it trains, the parent has been told to end, or is gone: the child saves its state and ends.
"""

import contextlib
import dataclasses
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from jaxmnist.errors import InterruptedRunError, JaxmnistError, JaxmnistWarning
from jaxmnist.experiments.study.folder import is_closed, read_study
from jaxmnist.experiments.study.jobs import SECONDS_TO_STOP, Job, Settings, train_jobs
from jaxmnist.experiments.study.loop import GO_ON
from jaxmnist.runs.progress import Progress
from jaxmnist.runtime.signals import StopSignals


class ChildError(JaxmnistError):
    """A child ended with an error; it has said which."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("a process that trains seeds ended early, see above; what is finished is kept.")
        self.exit_code = exit_code


def train_in_processes(jobs: Iterable[Job], processes: int, settings: Settings) -> None:
    """Trains seeds in so many processes on the CPU, whose cores they share out.

    Args:
        jobs: what to train; the next one is asked for when a process has nothing to do, so that what it is may
            depend on what is finished by then. Callbacks are called, and jobs asked for, by one thread at a time.
        processes: no more than there are jobs.
        settings: for all of them.

    Raises:
        InterruptedRunError: SIGINT or SIGTERM arrived; the children have saved their states.
        ChildError: a child failed; the others were ended, their states saved.
        Exception: what `jobs` or a callback raised.
    """
    waiting = _Waiting(jobs)
    with StopSignals(SECONDS_TO_STOP, f"interrupted, {GO_ON}") as stop:
        children = [_start(settings, cores) for cores in _shared_cores(processes)]
        threads = [threading.Thread(target=_drive, args=(child, waiting), daemon=True) for child in children]
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
            raise InterruptedRunError(stop.requested, Path(), GO_ON)
    if waiting.error is not None:
        raise waiting.error
    if wrong := [code for code in codes if code not in (0, 128 + signal.SIGTERM)]:
        raise ChildError(wrong[0] if 0 < wrong[0] < 128 else 1)
    if not all(is_closed(job.study, job.seed) for job in waiting.taken):
        raise ChildError(1)


class _Waiting:
    """The jobs, as children take them, and what is told of them. After an error there are no more."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs = iter(jobs)
        self._lock = threading.Lock()
        self.taken: list[Job] = []
        self.error: Exception | None = None

    def take(self) -> Job | None:
        """The next one; None where there is none."""
        with self._lock:
            if self.error is None:
                try:
                    self.taken.append(next(self._jobs))
                    return self.taken[-1]
                except StopIteration:
                    pass
                except Exception as error:
                    self.error = error
            return None

    def tell(self, job: Job, progress: Progress) -> None:
        """Passes on the progress of a child's job."""
        with self._lock:
            try:
                for callback in job.callbacks:
                    callback(progress)
            except Exception as error:
                self.error = self.error or error


def _shared_cores(processes: int) -> Iterator[set[int] | None]:
    """The cores of each process; none where the system has no say in that, or there are fewer than processes."""
    if not hasattr(os, "sched_getaffinity"):
        yield from [None] * processes
        return
    cores = sorted(os.sched_getaffinity(0))
    for index in range(processes):
        yield set(cores[index::processes]) or None


def _start(settings: Settings, cores: set[int] | None) -> subprocess.Popen[str]:
    work = settings._asdict()
    work["data_dir"] = None if settings.data_dir is None else str(settings.data_dir)
    code = "from jaxmnist.experiments.study.processes import work; work()"
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


def _drive(child: subprocess.Popen[str], waiting: _Waiting) -> None:
    """Hands jobs to a child until there are no more, and passes on what it tells."""
    with contextlib.suppress(OSError, ValueError):
        job = _hand_over(child, waiting)
        for line in child.stdout or ():
            if job is None:
                break
            progress = Progress(**json.loads(line))
            waiting.tell(job, progress)
            if progress.kind == "finished":
                job = _hand_over(child, waiting)


def _hand_over(child: subprocess.Popen[str], waiting: _Waiting) -> Job | None:
    """Gives a child its next job, or ends its input where there is none."""
    job = waiting.take()
    if job is None:
        child.stdin.close()  # pyright: ignore[reportOptionalMemberAccess]
    else:
        _tell(child, {"folder": str(job.study.folder), "seed": job.seed})
    return job


def _tell(child: subprocess.Popen[str], value: Any) -> None:
    stdin: Any = child.stdin
    stdin.write(json.dumps(value) + "\n")
    stdin.flush()


def work() -> None:
    """What a child does; ends the process."""
    from jaxmnist.data import load_dataset
    from jaxmnist.runs.folder import environment, require_data_of_run
    from jaxmnist.runtime.devices import select_device, use_compile_cache

    logging.getLogger("absl").setLevel(logging.ERROR)
    warnings.simplefilter("always", JaxmnistWarning)
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    lines = _Lines()
    settings, code = Settings(**lines.get()), 0
    try:
        device = select_device("cpu")
        if settings.compile_cache:
            use_compile_cache()
        dataset = None
        while (told := lines.get()) is not None:
            study = read_study(Path(told["folder"]))
            if dataset is None or dataset.name != study.config.dataset:
                dataset = load_dataset(study.config.dataset, settings.data_dir)
            require_data_of_run(study.config, dataset, study.folder)
            with lines.busy():
                job = Job(study, told["seed"], [_tell_parent])
                train_jobs([job], dataset, device, environment(device), settings)
            # Only now: the parent may end the input next, which would end a busy process.
            print(
                json.dumps({"kind": "finished", "seed": told["seed"], "epoch": study.config.recipe.epochs}),
                flush=True,
            )
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


def _tell_parent(progress: Progress) -> None:
    # The parent learns that a seed is finished when this process is ready for the next one.
    if progress.kind != "finished":
        with contextlib.suppress(OSError):
            print(json.dumps(dataclasses.asdict(progress)), flush=True)
