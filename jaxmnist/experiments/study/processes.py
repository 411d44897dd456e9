"""Training of seeds in several processes on a CPU: each trains one seed at a time, then gets the next one.

A child reads jobs from its standard input and reports progress on its standard output, in lines of JSON. If its input
ends while it trains, the parent is ending or gone: the child saves its state and ends.
"""

import asyncio
import contextlib
import dataclasses
import json
import logging
import os
import queue
import signal
import sys
import threading
import warnings
from asyncio.subprocess import PIPE, Process, create_subprocess_exec
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jaxmnist.errors import InterruptedRunError, JaxmnistError, JaxmnistWarning
from jaxmnist.experiments.study.folder import is_closed, read_study
from jaxmnist.experiments.study.jobs import RESUME, SECONDS_TO_STOP, Job, train_jobs
from jaxmnist.runs.progress import Progress
from jaxmnist.runtime.signals import StopSignals, own_process


class Settings(NamedTuple):
    """Settings of a child process."""

    data_dir: Path | None
    """Folder with the data, as for `jaxmnist.data.load_dataset`."""
    compile_cache: bool
    """True if compiled programs are kept for later processes."""
    note_divergence: bool = False
    """As for `train_jobs`."""


class ChildError(JaxmnistError):
    """A child process ended with an error, which it has printed."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("a process that trains seeds ended early, see above; finished seeds are kept.")
        self.exit_code = exit_code


def train_in_processes(jobs: Iterable[Job], processes: int, settings: Settings) -> None:
    """Trains seeds in several processes on the CPU, which share its cores.

    Args:
        jobs: the seeds; the next one is requested when a process is idle, so it may depend on those finished by
            then. Callbacks are called in the parent.
        processes: number of processes, at most the number of jobs.
        settings: settings of all processes.

    Raises:
        InterruptedRunError: SIGINT, SIGTERM or SIGHUP arrived; the children have saved their states.
        ChildError: a child failed; the others have saved their states and ended.
        Exception: an exception of `jobs` or of a callback.
    """
    with StopSignals(SECONDS_TO_STOP, f"interrupted; {RESUME}") as stop:
        asyncio.run(_Pool(jobs, settings, stop).train(processes))


class _Pool:
    """Child processes, and the jobs that they take from one iterator."""

    def __init__(self, jobs: Iterable[Job], settings: Settings, stop: StopSignals) -> None:
        self._jobs, self._settings, self._stop = iter(jobs), settings, stop
        self._is_ending = False

    async def train(self, processes: int) -> None:
        children = [await self._start(cores) for cores in _shared_cores(processes)]
        tasks = [asyncio.create_task(self._drive(child)) for child in children]
        running = set(tasks)
        while running and not self._is_ending:
            done, running = await asyncio.wait(running, timeout=0.1, return_when=asyncio.FIRST_EXCEPTION)
            failed = any(task.exception() is not None for task in done)
            self._is_ending = failed or self._stop.requested is not None
        for child in children:
            _input(child).close()
        codes = [await child.wait() for child in children]
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        if self._stop.requested is not None:
            raise InterruptedRunError(self._stop.requested, Path(), RESUME)
        for error in errors:
            if error is not None and not isinstance(error, ChildError):
                raise error
        if any(errors):
            wrong = next((code for code in codes if code not in (0, 128 + signal.SIGTERM)), 1)
            raise ChildError(wrong if 0 < wrong < 128 else 1)

    async def _start(self, cores: set[int] | None) -> Process:
        code = "from jaxmnist.experiments.study.processes import work; work()"
        own = os.sched_getaffinity(0) if cores else set()
        # A child inherits the cores that its parent has at that moment.
        if cores:
            os.sched_setaffinity(0, cores)
        try:
            return await create_subprocess_exec(
                *(sys.executable, "-c", code, json.dumps(self._settings, default=str)),
                stdin=PIPE,
                stdout=PIPE,
                # Ctrl-C is for the parent, which ends the children in order.
                start_new_session=True,
            )
        finally:
            if cores:
                os.sched_setaffinity(0, own)

    async def _drive(self, child: Process) -> None:
        """Gives a child one job after the other, and passes on its progress."""
        assert child.stdout is not None
        while not self._is_ending and (job := next(self._jobs, None)) is not None:
            order = {"folder": str(job.study.folder), "seed": job.seed}
            _input(child).write(f"{json.dumps(order)}\n".encode())
            async for line in child.stdout:
                progress = Progress(**json.loads(line))
                for callback in job.callbacks:
                    callback(progress)
                if progress.kind == "finished":
                    break
            if not is_closed(job.study, job.seed):
                raise ChildError(1)
        _input(child).close()


def _input(child: Process) -> asyncio.StreamWriter:
    assert child.stdin is not None
    return child.stdin


def _shared_cores(processes: int) -> Iterator[set[int] | None]:
    """Yields the cores of each process; None if the system cannot assign them or has fewer than processes."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    for index in range(processes):
        yield set(cores[index::processes]) or None


def work() -> None:
    """Trains the seeds that the parent asks for, then ends the process."""
    from jaxmnist.runs.environment import environment
    from jaxmnist.runs.folder import load_data_of_run, require_data_of_run
    from jaxmnist.runtime.devices import select_device, use_compile_cache
    from jaxmnist.runtime.jax_settings import keep_own_settings

    logging.getLogger("absl").setLevel(logging.ERROR)
    warnings.simplefilter("always", JaxmnistWarning)
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    orders, settings, code = _Orders(), Settings(*json.loads(sys.argv[1])), 0
    data_dir = settings.data_dir and Path(settings.data_dir)
    try:
        keep_own_settings()
        device = select_device("cpu")
        if settings.compile_cache:
            use_compile_cache()
        dataset = None
        while (order := orders.get()) is not None:
            study, seed = read_study(Path(order["folder"])), order["seed"]
            if dataset is None or dataset.fingerprint != study.config.data_fingerprint:
                dataset = load_data_of_run(study.config, data_dir)
            require_data_of_run(study.config, dataset, study.folder)
            job = Job(study, seed, [_report])
            with orders.busy(), own_process():
                train_jobs([job], dataset, device, environment(device), settings.note_divergence)
            # Only now: the parent may end the input next, which would end a busy process.
            _print(Progress("finished", seed, study.config.recipe.epochs))
    except InterruptedRunError as error:
        code = error.exit_code
    except JaxmnistError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    sys.stdout.flush()
    # The thread that reads the input would keep the process alive.
    os._exit(code)


class _Orders:
    """Orders from standard input; its end during work sends the process a SIGTERM."""

    def __init__(self) -> None:
        self._orders: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._is_busy = self._has_ended = False
        self._lock = threading.Lock()
        threading.Thread(target=self._read, daemon=True).start()

    def get(self) -> dict[str, Any] | None:
        return self._orders.get()

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        with self._lock:
            self._is_busy = True
            if self._has_ended:
                os.kill(os.getpid(), signal.SIGTERM)
        yield
        with self._lock:
            self._is_busy = False

    def _read(self) -> None:
        for line in sys.stdin:
            self._orders.put(json.loads(line))
        with self._lock:
            self._has_ended = True
            self._orders.put(None)
            if self._is_busy:
                os.kill(os.getpid(), signal.SIGTERM)


def _report(progress: Progress) -> None:
    # A seed is reported as finished when the process is ready for the next one.
    if progress.kind != "finished":
        _print(progress)


def _print(progress: Progress) -> None:
    with contextlib.suppress(OSError):
        print(json.dumps(dataclasses.asdict(progress)), flush=True)
