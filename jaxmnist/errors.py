"""Errors a user can cause, each with the exit code its command ends with.

Every message is one sentence that names the value, the place and what to do.
"""

import contextlib
import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path


class JaxmnistError(Exception):
    """Base of all errors below; `exit_code` is what the command line returns."""

    exit_code = 1


class UsageError(JaxmnistError):
    """Wrong option, unknown name or impossible configuration."""

    exit_code = 2


class DataError(JaxmnistError):
    """A data set or image is missing, damaged or not what it should be."""

    exit_code = 3


class CheckpointError(JaxmnistError):
    """A run folder, checkpoint or weights file is missing, damaged or of another arch."""

    exit_code = 4


class DivergedError(JaxmnistError):
    """Training produced a value that is not finite."""

    exit_code = 5


class TargetMissedError(JaxmnistError):
    """Training ended below the accuracy asked for with `--target-acc`."""

    exit_code = 6


class LostProcessError(JaxmnistError):
    """Of the processes that train a run together one has ended, and so have the others."""

    exit_code = 7


class SelfCheckError(JaxmnistError):
    """This machine, as it is set up, computes other numbers than it should; exit code 1."""


class StorageError(JaxmnistError):
    """What a run is to leave behind could not be written, to a full disk say; what was there before is intact."""


class InterruptedRunError(JaxmnistError):
    """SIGINT or SIGTERM ended a run after its state was saved; exit code 130 or 143."""

    def __init__(self, signum: int, run: Path, remedy: str | None = None) -> None:
        super().__init__(f"interrupted; the state is saved, {remedy or f'go on with --resume {run}'}")
        self.signum = signum
        self.exit_code = 128 + signum


class JaxmnistWarning(UserWarning):
    """Something is not as it should be and the work goes on. One sentence, which commands print to stderr."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is not among the known ones, which it lists, the nearest one as a hint."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return UsageError(f"there is no {kind} {shortened(repr(name))}{hint}; choose one of {', '.join(known)}.")


@contextlib.contextmanager
def writing(place: object, remedy: str, error: type[JaxmnistError] = UsageError) -> Iterator[None]:
    """Turns an OSError within into an error that names the place, the reason and the remedy.

    Args:
        place: the file or folder that is written.
        remedy: the advice, as a clause.
        error: class of the error.
    """
    try:
        yield
    except OSError as reason:
        raise error(f"{place} cannot be written ({reason.strerror}); {remedy}.") from reason


def shortened(text: str) -> str:
    """A text from a file for a message: what is too long for a line is left out."""
    return text if len(text) <= 120 else f"{text[:100]}... ({len(text):,} characters)"
