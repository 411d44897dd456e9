"""Measuring in turn (A B C A B C ...), so that whatever else the machine does falls on all variants alike."""

import contextlib
import dataclasses
import math
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import jax
from jax.experimental.compilation_cache import compilation_cache

MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024
"""In what the system counts the resident memory of a process."""


@runtime_checkable
class Variant(Protocol):
    """One way to do some work."""

    def measure(self, count: int, untimed: int = 0) -> float:
        """Does the work so many times, waits for the last result and returns the seconds it took.

        Before that, without a pause, it does all of it `untimed` times over.
        """
        ...

    def peak_memory(self) -> int:
        """Largest resident size in bytes that the process which does the work has had."""
        ...


class Timed:
    """A variant that calls a function of the count in this process, and waits for what it returns."""

    def __init__(self, work: Callable[[int], Any]) -> None:
        self._work = work

    def measure(self, count: int, untimed: int = 0) -> float:
        for _ in range(untimed):
            jax.block_until_ready(self._work(count))
        began = time.perf_counter()
        jax.block_until_ready(self._work(count))
        return time.perf_counter() - began

    def peak_memory(self) -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_BYTES


@dataclasses.dataclass(frozen=True)
class Turn:
    """A variant and what it does in a repeat."""

    variant: Variant
    count: int
    images: int = 1
    """Images in one of the counted units: those of a batch for a step."""


Row = dict[str, Any]

RUN_IN_SECONDS = 0.5
"""How long a variant works before it is measured. Cores that have been idle, while another process had its turn or a
fifth of a second in between, take up to twice as long for the first tenths of a second; a training never idles."""


def measure_in_turn(
    turns: Mapping[str, Turn], repeats: int, report: Callable[[str], None] = lambda line: None
) -> dict[str, Row]:
    """Warms every variant up and measures it so many times, each time after `RUN_IN_SECONDS` of the same work.

    Returns:
        For each variant `count`, `images` (in one unit), `first_seconds` (the very first unit),
        `peak_memory_bytes` (until it was warm), `seconds` (one number a repeat), and from them, each as
        `median`, `min` and `max`, `images_per_second` and `milliseconds` for one unit.
    """
    rows: dict[str, Row] = {}
    untimed: dict[str, int] = {}
    # In reverse: the un-jitted variant stands first, and its hundreds of little programs take most of the
    # memory. Peaks never fall, so it is warmed up last.
    for name, turn in reversed(list(turns.items())):
        first = turn.variant.measure(1)
        untimed[name] = math.ceil(RUN_IN_SECONDS / turn.variant.measure(turn.count))
        peak = turn.variant.peak_memory()
        rows[name] = {
            "count": turn.count,
            "images": turn.images,
            "first_seconds": first,
            "peak_memory_bytes": peak,
            "seconds": [],
        }
        report(f"{name} is warm")
    for repeat in range(1, repeats + 1):
        for name, turn in turns.items():
            rows[name]["seconds"].append(turn.variant.measure(turn.count, untimed[name]))
        last = (f"{name} {rows[name]['seconds'][-1] / turn.count * 1e3:,.2f}" for name, turn in turns.items())
        report(f"repeat {repeat}/{repeats}: {', '.join(last)} ms")
    for name, turn in turns.items():
        units = [seconds / turn.count for seconds in rows[name]["seconds"]]
        rows[name]["images_per_second"] = summary([turn.images / unit for unit in units])
        rows[name]["milliseconds"] = summary([1e3 * unit for unit in units])
    return {name: rows[name] for name in turns}


def speed_ratio(row: Row, other: Row, images: float = 1.0) -> dict[str, float]:
    """How many times faster one row is than another, repeat by repeat: neighbours had the same machine.

    `images` is how many times more images a unit of the one has than one of the other.
    """
    pairs = zip(row["seconds"], other["seconds"], strict=True)
    share = images * row["count"] / other["count"]
    return summary([share * theirs / ours for ours, theirs in pairs])


def summary(values: list[float]) -> dict[str, float]:
    """Median and range."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


@contextlib.contextmanager
def no_compile_cache() -> Iterator[None]:
    """Without the persistent cache of compiled programs, whose hits would pass for compile times."""
    before = jax.config.values["jax_enable_compilation_cache"]
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()  # JAX decides once whether there is a cache; this makes it decide anew
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
        compilation_cache.reset_cache()
