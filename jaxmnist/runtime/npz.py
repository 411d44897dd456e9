"""NumPy's `.npz` files from outside: arrays within limits, never unpickled.

`numpy.load` takes whatever it finds, and its messages advise to unpickle what is no array.
"""

import contextlib
import io
import pickle
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal

import numpy as np

from jaxmnist.errors import shortened
from jaxmnist.runtime.reading import open_regular

MAX_MEMBERS = 10_000
"""Most members of an archive."""

_MAX_READ = 2**21
"""Most bytes of one read: the table of an archive with `MAX_MEMBERS`, or a piece of an array. NumPy reads 256 KiB."""

_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")  # a first member, or none at all
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # those NumPy writes; others take memory as they please


class NpzError(ValueError):
    """A file that is no `.npz` file within the limits; the message is a predicate that says why."""


def read_npz(
    path: str | Path, most: int, wanted: Callable[[str], bool] = lambda _: True
) -> dict[str, np.ndarray]:
    """Reads arrays by name.

    Args:
        path: the file.
        most: most bytes, both of the file and of all its arrays together.
        wanted: True for the names of arrays to read; the others come back empty.

    Raises:
        NpzError: it is no `.npz` file, is damaged or has too much in it.
        OSError: as for `jaxmnist.runtime.reading.open_regular`.
    """
    with open_regular(path, most) as file:
        try:
            with _opened(file, most) as archive:
                return {
                    _name(member): _read(archive, member) if wanted(_name(member)) else np.array(0)
                    for member in archive.infolist()
                }
        except NpzError:
            raise
        except Exception as error:  # zipfile and zlib raise many kinds
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise NpzError(f"cannot be read ({shortened(reason)})") from error


def kind_of(path: str | Path, most: int) -> Literal["npz", "safetensors", "pytorch"]:
    """Recognises a file of arrays by its content; one of no kind is left to the reader of `.npz` to refuse.

    Files of `torch.save` are zip archives or, before version 1.6, bare pickles.

    Raises:
        OSError: as for `jaxmnist.runtime.reading.open_regular`.
    """
    with open_regular(path, most) as file:
        start = file.read(9)
        if start[8:] == b"{":  # after the length of the header
            return "safetensors"
        if start[:4] in _SIGNATURES:
            with contextlib.suppress(Exception), open_zip(file) as archive:  # damaged: the reader says so
                if any(PurePosixPath(name).name == "data.pkl" for name in archive.namelist()):
                    return "pytorch"
        return "pytorch" if start[:1] == pickle.PROTO else "npz"


@contextmanager
def open_zip(file: BinaryIO) -> Iterator[zipfile.ZipFile]:
    """Opens a zip archive, unless its table of members is out of all proportion.

    Raises:
        zipfile.BadZipFile: it is no zip archive.
        NpzError: it has far more than `MAX_MEMBERS`.
    """
    with zipfile.ZipFile(_SmallReads(file)) as archive:  # pyright: ignore[reportArgumentType]
        yield archive


@contextmanager
def _opened(file: BinaryIO, most: int) -> Iterator[zipfile.ZipFile]:
    if file.read(4) not in _SIGNATURES:
        raise NpzError("is not a .npz file, or is truncated")
    with open_zip(file) as archive:
        members = archive.infolist()
        if len(members) > MAX_MEMBERS:
            raise NpzError(f"has {len(members):,} members where at most {MAX_MEMBERS:,} are read")
        if sum(member.file_size for member in members) > most:
            raise NpzError(f"holds more than {most:,} bytes")
        counts = Counter(map(_name, members))
        if doubled := [name for name, count in counts.items() if count > 1]:
            raise NpzError(f"has two members named {shortened(doubled[0])}")
        yield archive


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    name = shortened(_name(member))
    if member.compress_type not in _METHODS:
        raise NpzError(f"has {name} compressed in a way that NumPy does not use")
    with archive.open(member) as content:
        if content.read(len(np.lib.format.MAGIC_PREFIX)) != np.lib.format.MAGIC_PREFIX:
            raise NpzError(f"is not a .npz file: its member {name} is not an array")
        content.seek(0)
        try:
            # NumPy takes anything with a `read`.
            return np.lib.format.read_array(_SmallReads(content), allow_pickle=False)  # pyright: ignore[reportArgumentType]
        except (zipfile.BadZipFile, zlib.error):
            raise
        except Exception as error:  # of any kind: NumPy evaluates a text in the file
            if str(error).startswith("Object arrays"):
                raise NpzError(f"has Python objects in {name}, which are never unpickled") from error
            raise NpzError(f"cannot be read (its member {name} is damaged)") from error


def _name(member: zipfile.ZipInfo) -> str:
    return member.filename.removesuffix(".npy")


class _SmallReads(io.BufferedIOBase):
    """A stream that refuses a read of a size that its content decides."""

    def __init__(self, stream: io.BufferedIOBase | BinaryIO) -> None:
        self._stream = stream

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = _MAX_READ + 1 if size is None or size < 0 else size
        content = self._stream.read(wanted) if wanted <= _MAX_READ + 1 else None
        if content is None or len(content) > _MAX_READ:
            raise NpzError("has a table of members, or a header of an array, that is far too long")
        return content

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def seekable(self) -> bool:
        return self._stream.seekable()

    def readable(self) -> bool:
        return True
