"""Durable files: atomic writes, appends and removals, and the lock of a folder."""

import contextlib
import errno
import fcntl
import json
import os
import secrets
import shutil
import socket
import stat
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from jaxmnist.errors import JaxmnistWarning, UsageError, writing
from jaxmnist.runtime.reading import read_json

LOCK = "lock.json"


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file whole; errors as for `replacing`."""
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Context manager for writing a file whole: even in a crash there is either the old file or the new one.

    A device, a pipe or a link is not replaced: `/dev/null` would become a file, and a link lose what it leads to.

    Raises:
        OSError: the file could not be written; the old one is unchanged.
    """
    _require_replaceable(path)
    # Nobody can have made a file, or a link to one, of a name that nobody can guess.
    partial = path.with_name(f".{secrets.token_hex(16)}.partial")
    try:
        with os.fdopen(
            os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), "wb"
        ) as file:
            yield file
        sync(partial)
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
    sync(path.parent)


def _require_replaceable(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        mode = path.lstat().st_mode
        if not stat.S_ISREG(mode):
            kind = (
                "a link" if stat.S_ISLNK(mode) else "a folder" if stat.S_ISDIR(mode) else "not a regular file"
            )
            raise OSError(errno.EEXIST, f"it is {kind}, which is not replaced", str(path))


def append(path: Path, content: bytes) -> None:
    """Appends to a file, or leaves it as it was.

    Raises:
        OSError: the file could not be written.
    """
    size = path.stat().st_size if path.is_file() else 0
    try:
        _require_replaceable(path)
        with path.open("ab") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        with contextlib.suppress(OSError):
            os.truncate(path, size)
        raise


def sync(path: Path) -> None:
    """Flushes a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Flushes everything below a folder, in parallel: a journal then commits many files at once."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(sync, [folder, *folder.rglob("*")]))


def remove_tree(folder: Path) -> None:
    """Renames to `NAME.removed`, then deletes, so an interruption never leaves a half-deleted folder.

    Raises:
        OSError: the folder could not be renamed; it is whole.
    """
    removed = folder.with_name(f"{folder.name}.removed")
    shutil.rmtree(removed, ignore_errors=True)
    folder.rename(removed)
    shutil.rmtree(removed, ignore_errors=True)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[Callable[[], None]]:
    """Locks a folder against other processes; the system releases the lock however the process ends.

    The folder itself is locked, as a file in it could be deleted and made anew, and a file with the name of the holder
    too: a network file system locks files only.

    Yields:
        A function to call before every write. It raises a UsageError if the lock was deleted where it protects
        alone.

    Raises:
        UsageError: another process holds the lock, or the folder is not writable.
    """
    path = folder / LOCK
    with contextlib.ExitStack() as stack:
        with writing(f"the run folder {folder}", "make it writable"):
            directory = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, directory)
            is_certain = _try_lock(directory, folder)
            # Without waiting, should a pipe be there under its name.
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK
            descriptor = os.open(path, flags, 0o666)
            file = stack.enter_context(os.fdopen(descriptor, "ab", buffering=0))
        if _try_lock(file.fileno(), folder) is is_certain is False:
            message = f"{folder} cannot be locked on this file system; let no other process use it."
            warnings.warn(message, JaxmnistWarning, stacklevel=3)
        # The holder's name serves a message only; a full disk must not prevent the lock.
        with contextlib.suppress(OSError):
            file.truncate(0)
            file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode() + b"\n")

        def require_lock() -> None:
            if is_certain or (path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno()))):
                return
            raise UsageError(
                f"{path} was deleted while this process used the folder, so another one may use it too; let one "
                "process use it and begin again from what is saved."
            )

        yield require_lock


def _try_lock(descriptor: int, folder: Path) -> bool:
    """Locks an open file or folder; returns False if the file system cannot.

    Raises:
        UsageError: another process holds the lock.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        message = f"{folder} is in use by {_holder(folder / LOCK)}; wait for that process or end it."
        raise UsageError(message) from error
    except OSError:
        return False
    return True


def _holder(path: Path) -> str:
    try:
        holder = read_json(path)
        return f"process {holder['pid']} on {holder['host']}"
    except (OSError, ValueError, LookupError):
        return "another process"
