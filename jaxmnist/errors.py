"""Errors that a user can cause or fix, each with the exit code of the command.

Every message is one sentence that names the value, the place and the remedy. Quoted names come from outside: a message
is one line whatever is in them, see `one_line`.
"""

import contextlib
import difflib
import errno
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path


class JaxmnistError(Exception):
    """Base class of all errors; `exit_code` is the exit code of the command."""

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(one_line(message))


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
    """The end of a run by SIGINT, SIGTERM or SIGHUP, after its state was saved; exit code 130, 143 or 129."""

    def __init__(self, signum: int, run: Path, remedy: str | None = None) -> None:
        super().__init__(f"interrupted, the state is saved; {remedy or f'resume with --resume {run}'}")
        self.signum = signum
        self.exit_code = 128 + signum


class JaxmnistWarning(UserWarning):
    """A fault that does not stop the work; commands print its one sentence to stderr."""

    def __init__(self, message: str = "") -> None:
        super().__init__(one_line(message))


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
def writing(
    place: object, remedy: str, error: type[JaxmnistError] = UsageError, mend: bool = False
) -> Iterator[None]:
    """Turns an OSError within into an error that names the place, the reason and the remedy.

    Args:
        place: the file or folder that is written.
        remedy: the advice, as a clause.
        error: class of the error.
        mend: True for advice that helps only once the cause is mended, which is then named first.
    """
    try:
        yield
    except OSError as reason:
        first = f"{mending(reason)} and " if mend else ""
        raise error(f"{place} cannot be written ({reason.strerror}); {first}{remedy}.") from reason


def mending(reason: BaseException | None) -> str:
    """Returns advice that fits the cause of a failed write, as a clause."""
    number = reason.errno if isinstance(reason, OSError) else None
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "make room"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "make it writable"
    return "check that folder and its disk"


def listed(names: Sequence[str], most: int = 5) -> str:
    """Quotes the first few of several names."""
    rest = [f"{len(names) - most:,} more"] if len(names) > most else []
    return ", ".join([*map(repr, names[:most]), *rest])


def counted(count: int, noun: str) -> str:
    """Returns a number with its noun: `1 epoch`, `1,500 epochs`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def shortened(text: str) -> str:
    """Cuts a text from a file to a length that fits in an error message."""
    return text if len(text) <= 120 else f"{text[:100]}... ({len(text):,} characters)"


MAX_MESSAGE = 1_000
"""Most characters of a message; a file can have names of any length, and any number of them."""

_TAIL = 250  # the remedy is at the end


def one_line(text: str) -> str:
    """Returns a text as a single line that is safe to print; a longer one than `MAX_MESSAGE` loses its middle."""
    text = escaped(text)
    if len(text) <= MAX_MESSAGE:
        return text
    gap = f" ... ({len(text):,} characters) ... "
    return text[: MAX_MESSAGE - len(gap) - _TAIL] + gap + text[-_TAIL:]


def escaped(text: str, but: str = "") -> str:
    r"""Escapes control characters, line ends, marks of direction and other invisible characters, as `\x1b` say.

    A terminal would obey them: a file's name could clear the screen, or show another name than its own.

    Args:
        text: any text.
        but: characters that stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character
        if character in but or unicodedata.category(character) not in _INVISIBLE
        else character.encode("unicode_escape").decode()
        for character in text
    )


_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
