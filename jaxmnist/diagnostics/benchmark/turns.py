"""Measurements in turn (A B C A B C ...), so that disturbances of the machine affect all variants alike."""

import contextlib
import dataclasses
import math
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.experimental.compilation_cache import compilation_cache

RUN_IN_SECONDS = 0.5
"""Time of untimed work before each measurement. Cores that have been idle, during the turn of another process or for a
fifth of a second, take up to twice as long for the first tenths of a second; in training they are never idle."""


class Measurement(NamedTuple):
    """Time of some work, and the memory of the process that did it."""

    seconds: float
    peak_memory_bytes: int
    """Largest resident size of the process so far."""


Variant = Callable[[int, int], Measurement]
"""One way to do some work: (count, untimed) -> measurement. It does `count` units of the work `untimed` times, then,
without a pause, once more and measures that."""


def timed(work: Callable[[int], object]) -> Variant:
    """Returns a variant that calls `work(count)` in this process and waits for the arrays it returns."""

    def measure(count: int, untimed: int) -> Measurement:
        for _ in range(untimed):
            jax.block_until_ready(work(count))
        began = time.perf_counter()
        jax.block_until_ready(work(count))
        seconds = time.perf_counter() - began
        return Measurement(seconds, peak_memory())

    return measure


def peak_memory() -> int:
    """Returns the largest resident size of this process so far, in bytes."""
    # On Linux `ru_maxrss` begins with that of the process that started this one.
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@dataclasses.dataclass(frozen=True)
class Turn:
    """A variant and its work in one repeat."""

    variant: Variant
    count: int
    """Number of units."""
    images: int = 1
    """Images in a unit: those of a batch for a step."""


Row = dict[str, Any]


def measure_in_turn(
    turns: Mapping[str, Turn], repeats: int, report: Callable[[str], None] = lambda line: None
) -> dict[str, Row]:
    """Warms every variant up, then measures all in turn, each time after `RUN_IN_SECONDS` of the same work.

    Args:
        turns: variants by name.
        repeats: number of measurements of each variant.
        report: receives a line about progress.

    Returns:
        For each variant `count`, `images` (in a unit), `first_seconds` (of the very first unit),
        `peak_memory_bytes` (after the warm-up) and `seconds` (one number a repeat), and from these the `median`,
        `min` and `max` of `images_per_second` and of the `milliseconds` of a unit.
    """
    rows: dict[str, Row] = {}
    untimed: dict[str, int] = {}
    # In reverse: the un-jitted variant comes first, and its hundreds of small programs take most of the memory.
    # Peaks never fall, so it is warmed up last.
    for name, turn in reversed(list(turns.items())):
        first = turn.variant(1, 0)
        warm = turn.variant(turn.count, 0)
        untimed[name] = math.ceil(RUN_IN_SECONDS / warm.seconds)
        rows[name] = {"count": turn.count, "images": turn.images, "first_seconds": first.seconds}
        rows[name] |= {"peak_memory_bytes": warm.peak_memory_bytes, "seconds": []}
        report(f"{name} is warm")
    for repeat in range(1, repeats + 1):
        for name, turn in turns.items():
            rows[name]["seconds"].append(turn.variant(turn.count, untimed[name]).seconds)
        last = (f"{name} {rows[name]['seconds'][-1] / turn.count * 1e3:,.2f}" for name, turn in turns.items())
        report(f"repeat {repeat}/{repeats}: {', '.join(last)} ms")
    for row in rows.values():
        units = [seconds / row["count"] for seconds in row["seconds"]]
        row["images_per_second"] = summary([row["images"] / unit for unit in units])
        row["milliseconds"] = summary([1e3 * unit for unit in units])
    return {name: rows[name] for name in turns}


def speed_ratio(row: Row, other: Row) -> dict[str, float]:
    """Computes how many times faster a row processes images than another, repeat by repeat.

    Neighbouring turns had the machine in the same state.
    """
    share = row["images"] * row["count"] / (other["images"] * other["count"])
    pairs = zip(row["seconds"], other["seconds"], strict=True)
    return summary([share * theirs / ours for ours, theirs in pairs])


def summary(values: list[float]) -> dict[str, float]:
    """Returns median and range."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


@contextlib.contextmanager
def no_compile_cache() -> Iterator[None]:
    """Disables the persistent cache of compiled programs, whose hits would pass for compile times."""
    before = jax.config.values["jax_enable_compilation_cache"]
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()  # JAX decides once whether to use the cache; this makes it decide again
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
        compilation_cache.reset_cache()
