"""Files that survive: written whole or not at all, on the disk before they count; and a folder for one only."""

import contextlib
import fcntl
import json
import os
import shutil
import socket
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jaxmnist.errors import JaxmnistWarning, UsageError

LOCK = "lock.json"


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file so that there is always either the old or the new one, whatever happens.

    Raises:
        OSError: it could not be written; the old one is as it was.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        sync(partial)
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
    sync(path.parent)


def append(path: Path, content: bytes) -> None:
    """Appends to a file, or leaves it as it was.

    Raises:
        OSError: it could not be written.
    """
    size = path.stat().st_size if path.is_file() else 0
    try:
        with path.open("ab") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        with contextlib.suppress(OSError):
            os.truncate(path, size)
        raise


def sync(path: Path) -> None:
    """Has the system bring a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """The same for everything below a folder. Side by side: a journal then commits many files at once."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(sync, [folder, *folder.rglob("*")]))


def remove_tree(folder: Path) -> None:
    """Removes a folder at one stroke: interrupted anywhere, what is left of it has a name in `.removed`.

    Raises:
        OSError: it could not be; it is then whole.
    """
    removed = folder.with_name(f"{folder.name}.removed")
    shutil.rmtree(removed, ignore_errors=True)
    folder.rename(removed)
    shutil.rmtree(removed, ignore_errors=True)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a folder against other processes. The system lets go of it when the process ends, however it does.

    Raises:
        UsageError: another process holds it, or the folder cannot be written to.
    """
    path = folder / LOCK
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        message = f"the run folder {folder} cannot be written to ({error.strerror}); make it writable."
        raise UsageError(message) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"{folder} is in use by {_holder(path)}; wait for it, or end it first."
            ) from error
        except OSError as error:  # a network file system without locks
            message = f"{folder} cannot be locked ({error.strerror}): let no other run use it."
            warnings.warn(message, JaxmnistWarning, stacklevel=3)
        holder = json.dumps({"pid": os.getpid(), "host": socket.gethostname()}) + "\n"
        # Who holds it is for the message above only; a full disk is no reason against a lock.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, holder.encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text())
        return f"process {holder['pid']} on {holder['host']}"
    except (OSError, ValueError, LookupError, TypeError):
        return "another process"
