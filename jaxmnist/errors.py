"""Errors that a user can cause or fix, each with the exit code of the command.

Every message is one sentence that names the value, the place and the remedy.
"""

import contextlib
import difflib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path


class JaxmnistError(Exception):
    """Base class of all errors; `exit_code` is the exit code of the command."""

    exit_code = 1


class UsageError(JaxmnistError):
    """A wrong option, an unknown name or an impossible configuration."""

    exit_code = 2


class DataError(JaxmnistError):
    """A missing, damaged or unsuitable dataset or image."""

    exit_code = 3


class CheckpointError(JaxmnistError):
    """A run folder, checkpoint or weights file that is missing, damaged or of another arch."""

    exit_code = 4


class DivergedError(JaxmnistError):
    """A training that produced values that are not finite."""

    exit_code = 5


class TargetMissedError(JaxmnistError):
    """A training that ended below the accuracy given with `--target-acc`."""

    exit_code = 6


class LostProcessError(JaxmnistError):
    """The end of one of several processes that train a run together, and so of all."""

    exit_code = 7


class SelfCheckError(JaxmnistError):
    """A machine that, as it is set up, computes wrong numbers."""


class StorageError(JaxmnistError):
    """A file of a run that could not be written, to a full disk say; the old file is intact."""


class InterruptedRunError(JaxmnistError):
    """The end of a run by SIGINT or SIGTERM, after its state was saved; exit code 130 or 143."""

    def __init__(self, signum: int, run: Path, remedy: str | None = None) -> None:
        super().__init__(f"interrupted, the state is saved; {remedy or f'resume with --resume {run}'}")
        self.signum = signum
        self.exit_code = 128 + signum


class JaxmnistWarning(UserWarning):
    """A fault that does not stop the work; commands print its one sentence to stderr."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Makes the error for a name that is not among the known ones, with the nearest as a hint."""
    known = list(known)
    return UsageError(
        f"there is no {kind} {shortened(repr(name))}{_hint(name, known)}; choose one of {', '.join(known)}."
    )


def unknown_key(place: str, key: str, known: Iterable[str]) -> UsageError:
    """Makes the error for a key that an object of a configuration does not have, with the nearest as a hint."""
    known = list(known)
    return UsageError(
        f"{place} has no key {shortened(repr(key))}{_hint(key, known)}; its keys are {', '.join(known)}."
    )


def _hint(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


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


def listed(names: Sequence[str], most: int = 5) -> str:
    """Quotes the first few of several names."""
    rest = [f"{len(names) - most:,} more"] if len(names) > most else []
    return ", ".join([*map(repr, names[:most]), *rest])


def shortened(text: str) -> str:
    """Cuts a text from a file to a length that fits in an error message."""
    return text if len(text) <= 120 else f"{text[:100]}... ({len(text):,} characters)"
