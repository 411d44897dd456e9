"""Downloads of single files, given up once nothing moves, and verified by SHA-256."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from jaxmnist.data.checksums import RemoteFile
from jaxmnist.errors import DataError

STALL_SECONDS = 30.0
"""Time in which a download that goes on brings at least `STALL_BYTES`."""

STALL_BYTES = 2**14
"""A server that sends a byte now and then is as good as a silent one."""

_CHUNK = 2**12
_PREFIX, _PREFIX_OF_TFDS = "jaxmnist-", "incomplete."  # of temporary folders


def fetch(url: str, file: RemoteFile, folder: Path) -> Path:
    """Downloads a file into a folder.

    Raises:
        DataError: it is not the published file.
        Exception: the server cannot be reached, fails or stalls; `requests` raises many kinds.
    """
    transfer = _Transfer(url, folder / file.name, file.size)
    transfer.start()
    try:
        seen, since = 0, time.monotonic()
        while not transfer.ended.wait(0.1):
            if transfer.received >= seen + STALL_BYTES:
                seen, since = transfer.received, time.monotonic()
            elif time.monotonic() > since + STALL_SECONDS:
                raise TimeoutError(f"{file.name} did not go on for {STALL_SECONDS:g} seconds")
    finally:
        transfer.is_wanted = False
    if transfer.failure is not None:
        raise transfer.failure
    if transfer.received != file.size or transfer.sha256.hexdigest() != file.sha256:
        raise DataError(
            f"{url} is not the published file of {file.size:,} bytes with SHA-256 {file.sha256}, and was deleted; "
            f"try again, or get the files elsewhere and point --data-dir at their folder."
        )
    return transfer.target


class _Transfer(threading.Thread):
    """Thread that downloads a file; nothing can interrupt a name lookup or a read, so it may have to be abandoned."""

    def __init__(self, url: str, target: Path, most: int) -> None:
        super().__init__(daemon=True)
        self.target, self.received, self.sha256 = target, 0, hashlib.sha256()
        self.ended, self.is_wanted = threading.Event(), True
        self.failure: Exception | None = None
        self._url, self._most = url, most

    def run(self) -> None:
        try:
            self._copy()
        except Exception as error:  # raised by the waiting thread
            self.failure = error
        finally:
            self.ended.set()

    def _copy(self) -> None:
        import requests

        # As it is: a server may call a .gz file a compressed transfer, which `requests` would unpack.
        unchanged = {"Accept-Encoding": "identity"}
        with requests.get(self._url, stream=True, timeout=STALL_SECONDS, headers=unchanged) as response:
            if not response.ok:
                raise ConnectionError(f"{self.target.name} is answered by HTTP code: {response.status_code}")
            with self.target.open("xb") as out:
                for chunk in response.iter_content(_CHUNK):
                    self.received += len(chunk)
                    if not self.is_wanted or self.received > self._most:
                        return
                    self.sha256.update(chunk)
                    out.write(chunk)


@contextlib.contextmanager
def working_folder(parent: Path) -> Iterator[Path]:
    """Context manager for a temporary folder in another one, which is made for it and goes with it if it stays empty.

    Raises:
        OSError: it cannot be made.
    """
    made = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    parent.mkdir(parents=True, exist_ok=True)
    try:
        with (
            _locked(parent, fcntl.LOCK_SH),
            tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent, ignore_cleanup_errors=True) as folder,
        ):
            yield Path(folder)
    finally:
        with contextlib.suppress(OSError):
            for folder in made:
                folder.rmdir()


def sweep(parent: Path) -> None:
    """Deletes the temporary folders that killed processes left, unless another process is at work there."""
    with contextlib.suppress(OSError), _locked(parent, fcntl.LOCK_EX | fcntl.LOCK_NB):
        for prefix in (_PREFIX, _PREFIX_OF_TFDS):
            for leftover in parent.glob(f"{prefix}*"):
                shutil.rmtree(leftover, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path, kind: int) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # The system releases it however the process ends.
        with contextlib.suppress(OSError) if kind == fcntl.LOCK_SH else contextlib.nullcontext():
            fcntl.flock(descriptor, kind)
        yield
    finally:
        os.close(descriptor)
