"""Files from outside, opened for reading: regular files only, up to a size that the reader sets, and JSON in them.

A name may stand for a pipe or a device, whose opening or reading never ends, or for far more than memory holds. Nothing
is read of such a file.
"""

import errno
import hashlib
import io
import json
import math
import os
import stat
from pathlib import Path
from typing import Any

from jaxmnist.errors import shortened

MAX_JSON_BYTES = 2**18
"""Longest JSON file that does not grow with the work: a hundred times the size of a run's `config.json`."""

MAX_ROWS_BYTES = 2**25
"""Longest file with a row for each epoch or seed: 50,000 rows of metrics."""

MAX_DEPTH = 100
"""Most levels of nested lists and objects in JSON; deeper ones overflow the stack of whatever walks through them."""


class UnsuitableFileError(OSError):
    """A file that is not opened: no regular one, or too long; its message and `strerror` are a clause about "it"."""

    def __init__(self, number: int, phrase: str, path: str | os.PathLike[str]) -> None:
        super().__init__(number, phrase, os.fspath(path))

    def __str__(self) -> str:
        return str(self.strerror)


def open_regular(path: str | os.PathLike[str], most: int | None = None) -> io.BufferedReader:
    """Opens a regular file for reading, at once whatever the name stands for.

    Args:
        path: the file.
        most: most bytes it may have; None for a reader that bounds by itself what it reads.

    Raises:
        UnsuitableFileError: it is no regular file, or is longer.
        OSError: it cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        _require_suitable(os.fstat(descriptor), path, most)
    except BaseException:
        os.close(descriptor)
        raise
    return open(descriptor, "rb")  # noqa: PTH123, there is no path


def read_bytes(path: str | os.PathLike[str], most: int) -> bytes:
    """Reads a regular file of up to `most` bytes; errors as for `open_regular`."""
    with open_regular(path, most) as file:
        content = file.read(most + 1)
    if len(content) > most:  # it has grown, or the system does not know its size
        raise _too_long(path, most)
    return content


def sha256_of(path: str | os.PathLike[str], most: int | None = None) -> str:
    """Computes the SHA-256 (hex) of a regular file, piece by piece; errors as for `open_regular`."""
    with open_regular(path, most) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_regular_tree(folder: Path, most: int) -> None:
    """Checks that a folder holds regular files and folders only, before a library opens them by name.

    Args:
        folder: the folder.
        most: most bytes that all files may have together.

    Raises:
        UnsuitableFileError: something else is there, or more.
        OSError: a folder cannot be read.
    """
    total = 0
    for parent, _, names in os.walk(folder, onerror=_raise):
        for name in names:
            path = os.path.join(parent, name)  # noqa: PTH118, Path would be slower here
            found = os.stat(path)  # noqa: PTH116
            total += found.st_size
            _require_suitable(found, path)
    if total > most:
        raise _too_long(folder, most)


def read_json(path: str | os.PathLike[str], most: int = MAX_JSON_BYTES) -> dict[str, Any]:
    """Reads the object in a JSON file, which is UTF-8 in any locale.

    Raises:
        OSError: as for `open_regular`.
        ValueError: the content is no JSON, see `parse_json`, or no object.
    """
    values = parse_json(read_bytes(path, most))
    if not isinstance(values, dict):
        raise ValueError("it is not an object in braces")
    return values


def parse_json(text: str | bytes, finite: bool = True) -> Any:  # noqa: ANN401, whatever the JSON holds
    """Parses JSON from outside, nested no deeper than `MAX_DEPTH`.

    Args:
        text: the JSON, UTF-8 if it is bytes.
        finite: False to accept numbers that are not finite, as Python writes them.

    Raises:
        ValueError: the text is anything else.
    """
    try:
        text = text.decode() if isinstance(text, bytes) else text
        checked: Any = {"parse_constant": _finite, "parse_float": _finite} if finite else {}
        value = json.loads(text, **checked)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return value
    raise ValueError("it is nested too deeply")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{shortened(digits)} is not a finite number")
    return value


def _require_suitable(found: os.stat_result, path: str | os.PathLike[str], most: int | None = None) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "not a regular file"
        raise UnsuitableFileError(errno.EINVAL, f"it is {kind}", path)
    if most is not None and found.st_size > most:
        raise _too_long(path, most)


def _too_long(path: str | os.PathLike[str], most: int) -> UnsuitableFileError:
    return UnsuitableFileError(errno.EFBIG, f"it has more than {most:,} bytes", path)


def _raise(error: OSError) -> None:
    raise error
