"""The functions through which commands read a run, study or sweep folder, and the promises that all of them keep."""

import contextlib
import functools
import json
import re
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import jax

from jaxmnist.data import digits, load_dataset
from jaxmnist.errors import JaxmnistError, JaxmnistWarning, writing
from jaxmnist.experiments.study.compare import compare_studies
from jaxmnist.experiments.study.folder import open_study, read_divergences, read_seeds, read_study, summary
from jaxmnist.experiments.sweep.folder import open_sweep, read_sweep
from jaxmnist.experiments.sweep.table import read_results, write_table
from jaxmnist.inference.classifier import load
from jaxmnist.report import gather as gathering
from jaxmnist.report.html.page import page_of_run
from jaxmnist.report.terminal.comparison import markdown_table
from jaxmnist.runs import loop
from jaxmnist.runs.compare import as_json, compare
from jaxmnist.runs.folder import METRICS, open_run, read_config
from tests.torture import templates
from tests.torture.memory import bounded

_UGLY = re.compile(
    r"\b[A-Z]\w*Error\b|Traceback|--debug|allow_pickle|\[Errno|object at 0x"
    r"|object is not|object has no|not subscriptable|indices must be|argument must be|unexpected keyword"
)
"""Words of Python that explain nothing to a user."""
SECONDS = 20.0
MOST_MEMORY = 300_000_000
MOST_CHARACTERS = 1_000

Read = Callable[[Path], Any]
"""Function that reads a folder and returns all that a command shows of it, as plain values."""


def _load(run: Path) -> Any:
    classifier = load(run)
    evaluation = classifier.evaluate("test").as_json()
    return {"evaluation": evaluation, "results": repr(classifier.results), "metrics": classifier.metrics}


def _report(run: Path) -> Any:
    with _remembered():
        (facts,) = gathering.gather([run], None, jax.devices("cpu")[0])
    page_of_run(facts)
    return facts.as_json()


def _compare(folder: Path) -> Any:
    compared = compare([folder])
    markdown_table(compared)
    return as_json(compared)


def _resume(run: Path) -> Any:
    """Resumes a run up to its first step of training; of a complete run, to its end."""
    config, dataset = read_config(run), load_dataset("digits")

    def stop(progress: Any) -> None:
        if progress.kind == "step":
            raise _Begun

    # Nothing is trained, so nothing needs to be compiled.
    with mock.patch.object(loop, "_compiling_ahead", contextlib.nullcontext):
        try:
            results = repr(loop.fit(config, dataset, run, jax.devices("cpu")[0], [stop]))
        except _Begun:
            results = None
    return {"results": results, "metrics": (run / METRICS).read_text()}


def _summarise_study(folder: Path) -> Any:
    study = read_study(folder)
    results = read_seeds(study)
    figures = summary(study, results, 99.4) if results else None
    return {"summary": figures, "diverged": read_divergences(study), "seeds": list(map(repr, results))}


def _compare_studies(folder: Path) -> Any:
    return compare_studies([read_study(templates.study()), read_study(folder)])


def _resume_study(folder: Path) -> Any:
    study = open_study(folder, templates.config(), {})
    found = read_seeds(study)
    for seed in {1, 2} - {result.seed for result in found}:
        open_run(study.run(seed), study.seed_config(seed), {})
    return list(map(repr, found))


def _collect_sweep(folder: Path) -> Any:
    sweep = read_sweep(folder)
    with writing(folder, "make room and give the same command again"):  # as the command does
        return write_table(sweep, read_results(sweep))


def _resume_sweep(folder: Path) -> Any:
    sweep = templates.open_like(folder, open_sweep)
    return [repr(result) for result in read_results(sweep)]


RUN: Mapping[str, Read] = {"load": _load, "report": _report, "compare": _compare, "resume": _resume}
STUDY: Mapping[str, Read] = {
    "study": _summarise_study,
    "study --compare": _compare_studies,
    "compare": _compare,
    "the same study again": _resume_study,
}
SWEEP: Mapping[str, Read] = {"sweep --collect": _collect_sweep, "the same sweep again": _resume_sweep}


def attempt(read: Read, place: Path) -> tuple[str | None, list[str]]:
    """Reads a folder, with the digits as its data, within bounds of time and memory.

    Returns:
        What was read, as JSON, or None if it was refused; and what was said: errors and warnings.

    Raises:
        AssertionError: a bound was broken, or what was said is no sentence for a user.
    """
    found, said = None, []
    with (
        warnings.catch_warnings(record=True) as caught,
        mock.patch.object(digits, "load", _digits),
        bounded(MOST_MEMORY),
        within(SECONDS),
    ):
        warnings.simplefilter("always")
        try:
            found = json.dumps(read(place), default=str)
        except JaxmnistError as error:
            said.append(str(error))
        except Exception as error:
            raise AssertionError(f"{type(error).__name__}: {str(error)[:300]}") from error
    hidden = DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning
    for warning in caught:
        if not issubclass(warning.category, hidden):
            assert issubclass(warning.category, JaxmnistWarning), (
                f"{warning.category.__name__}: {warning.message}"
            )
            said.append(str(warning.message))
    for text in said:
        assert_sentence(text)
    return found, said


def assert_sentence(text: str) -> None:
    """Asserts that a message is one line of limited length, without names of Python's errors or control characters."""
    assert len(text) <= MOST_CHARACTERS, f"{len(text):,} characters: {text[:200]!r}"
    assert text.isprintable(), f"more than a line, or control characters: {text[:500]!r}"
    ugly = _UGLY.search(text)
    assert not ugly, f"{ugly and ugly[0]!r} in: {text}"


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Context manager that ends the code within after a time, and asserts that it was faster."""

    def stop(*_: object) -> None:
        raise _TookTooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except _TookTooLong:
        raise AssertionError(f"more than {seconds:g} s") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class _TookTooLong(BaseException):
    """Not an Exception, which readers of damaged files turn into their own."""


class _Begun(BaseException):
    """Training begins: all checks are passed."""


@contextlib.contextmanager
def _remembered() -> Iterator[None]:
    # Both depend on the configuration alone and take most of the time.
    with (
        mock.patch.object(gathering, "layers", _layers),
        mock.patch.object(gathering, "augmented_versions", _augmented),
    ):
        yield


_digits = functools.cache(digits.load)
_layers = functools.cache(gathering.layers)
_versions: dict[Any, Any] = {}
_augment = gathering.augmented_versions


def _augmented(images: Any, recipe: Any, *numbers: int) -> Any:
    if recipe not in _versions:
        _versions[recipe] = _augment(images, recipe, *numbers)
    return _versions[recipe]
