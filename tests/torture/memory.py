"""Peak memory of this process."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STATUS, _REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_ROOM = 4 * 2**30
"""Address space left within `bounded`, so that an endless file gives a MemoryError and not a dead machine."""


@contextmanager
def bounded(limit: int) -> Iterator[None]:
    """Context manager that asserts that memory grows by less than `limit` bytes at any time.

    Asserts nothing on systems other than Linux, which do not report the peak.
    """
    if not _REFS.exists():
        yield
        return
    _REFS.write_text("5")  # resets the peak
    before = _kibibytes("VmRSS")
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (1024 * _kibibytes("VmSize") + _ROOM, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    growth = 1024 * (_kibibytes("VmHWM") - before)
    assert growth < limit, f"memory grew by {growth / 1e6:,.0f} MB where {limit / 1e6:,.0f} MB are the limit"


def _kibibytes(name: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1])
