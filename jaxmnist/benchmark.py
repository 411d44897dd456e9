"""How fast a network trains: the same steps un-jitted, jitted and in chunks, measured in turn.

A step is all that training does with a batch, from gather to update. Its time does not depend on what the
images show, so they are random and no dataset is needed. The variants take turns (A B C A B C ...): whatever
else the machine is busy with then falls on all of them.
"""

import contextlib
import dataclasses
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.experimental.compilation_cache import compilation_cache

from jaxmnist import runs, train
from jaxmnist.errors import UsageError
from jaxmnist.models import count_params, create_model
from jaxmnist.parallel import Device
from jaxmnist.programs import build_programs
from jaxmnist.recipes import Augmentation, Recipe
from jaxmnist.torch_process import TorchProcess

IMAGES = 6_400
"""Images that batches are gathered from: 5 MB, more than a processor's inner caches hold."""

UNJITTED_SHARE = 20
"""The un-jitted step is tens of times slower, so a repeat of it has this many times fewer steps."""


def benchmark(
    arch: str,
    recipe: Recipe,
    device: Device,
    *,
    repeats: int = 7,
    steps: int = 100,
    with_torch: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measures training steps on random images. Compiles afresh, even where a compile cache is set up.

    Args:
        arch: name of the network.
        recipe: batch size, augmentation and optimizer; its schedule and epochs play no part.
        device: where to compute.
        repeats: times that each variant is measured; a figure worth quoting takes 5 or more.
        steps: steps in a repeat; un-jitted `steps // UNJITTED_SHARE`, at least one.
        with_torch: measure an eager PyTorch step of the same network, too.
        report: told in one line what has been done.

    Returns:
        What was measured and where, ready for JSON. `variants` maps `unjitted`, `jitted`, `chunked` and
        perhaps `unaugmented` (in chunks, without the recipe's augmentation) and `torch` to `seconds` (one
        number a repeat of `steps` steps) and to what follows from them,
        each as `median`, `min` and `max`: `images_per_second`, `milliseconds_per_step`, and `over_unjitted`,
        the ratio to the un-jitted rate of the same repeat; `chunked` has `over_torch` likewise, and
        `augmentation_share`, the part of its time that it takes longer than `unaugmented`.
        `trace_seconds` and `compile_seconds` are null where no program is made of the whole step; un-jitted,
        each primitive is compiled when it is first met, within `first_step_seconds`. `peak_memory_bytes` is
        the largest resident size of the variant's process until it was warm; un-jitted comes last there.
        `load_average` is the system's of the minute before: on a busy machine no figure holds, PyTorch's
        least, as its threads wait actively.

    Raises:
        UsageError: a number is out of range, the arch is unknown, or PyTorch is asked for and cannot be had.
    """
    if repeats < 1 or steps < 1:
        raise UsageError(f"--repeats {repeats} of --steps {steps} measure nothing; give 1 or more of both.")
    if recipe.batch_size > IMAGES:
        raise UsageError(f"--batch-size {recipe.batch_size} is more than the benchmark's {IMAGES} images.")
    torch, load_average = None, os.getloadavg()[0]
    with contextlib.ExitStack() as stack:
        if with_torch:
            torch = stack.enter_context(TorchProcess(arch, recipe, IMAGES, device.platform))
            report(f"PyTorch {torch.facts['version']} is ready")
        stack.enter_context(_no_compile_cache())
        jax_variants = build_variants(arch, recipe, device, steps)
        parameters = count_params({"params": jax_variants["chunked"].state.params})
        report("the jitted step and the chunk are compiled")
        variants: _Variants = {**jax_variants}
        if torch is not None:
            assert torch.facts["parameters"] == parameters, f"PyTorch's {arch} is another network"
            variants["torch"] = torch
        lengths = dict.fromkeys(variants, steps) | {"unjitted": max(1, steps // UNJITTED_SHARE)}
        warm_up = _warm_up(variants, lengths, report)
        seconds = _measure_in_turn(variants, lengths, repeats, report)
    rates = {name: [lengths[name] * recipe.batch_size / s for s in seconds[name]] for name in variants}
    rows = {
        name: {
            "steps": lengths[name],
            "trace_seconds": variant.trace_seconds,
            "compile_seconds": variant.compile_seconds,
            **warm_up[name],
            "seconds": seconds[name],
            "images_per_second": _summary(rates[name]),
            "milliseconds_per_step": _summary([s / lengths[name] * 1e3 for s in seconds[name]]),
            "over_unjitted": _ratio(rates[name], rates["unjitted"]),
        }
        for name, variant in variants.items()
    }
    if "unaugmented" in rows:
        pairs = zip(seconds["chunked"], seconds["unaugmented"], strict=True)
        rows["chunked"]["augmentation_share"] = _summary([1 - plain / whole for whole, plain in pairs])
    if torch is not None:
        rows["chunked"]["over_torch"] = _ratio(rates["chunked"], rates["torch"])
    return {
        "arch": arch,
        "parameters": parameters,
        "recipe": dataclasses.asdict(recipe),
        "repeats": repeats,
        "data": f"{IMAGES} random uint8 images on the device",
        "variants": rows,
        "torch": torch and torch.facts,
        "load_average": load_average,
        "environment": runs.environment(device),
    }


@dataclasses.dataclass
class Variant:
    """One way to take training steps; every call goes on from the state that the last one left."""

    advance: Callable[[train.TrainState, train.Metrics, int], tuple[train.TrainState, train.Metrics]]
    state: train.TrainState
    metrics: train.Metrics
    trace_seconds: float | None = None
    compile_seconds: float | None = None

    def measure(self, steps: int) -> float:
        """Takes so many steps, waits for their results and returns the seconds it took."""
        began = time.perf_counter()
        self.state, self.metrics = jax.block_until_ready(self.advance(self.state, self.metrics, steps))
        return time.perf_counter() - began

    def peak_memory(self) -> int:
        """Largest resident size of this process since its start, in bytes."""
        # The system counts in kilobytes, except a Mac's.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def build_variants(arch: str, recipe: Recipe, device: Device, steps: int) -> dict[str, Variant]:
    """The variants `unjitted`, `jitted` and `chunked` of one training, compiled, in equal initial states.

    And `unaugmented`, the chunk without what the recipe does to images, if it does anything.

    Args:
        arch, recipe, device: as for `benchmark`.
        steps: the most that one call of `Variant.measure` will be asked for.

    Raises:
        UsageError: no network has that name.
    """
    model = create_model(arch)
    programs = build_programs(model, recipe, device)
    put = partial(jax.device_put, device=device)
    keys = put(train.Keys.from_seed(0))

    def start() -> tuple[train.TrainState, train.Metrics]:
        return put(programs.create_state(keys.init)), put(train.no_metrics())

    random = np.random.default_rng(0)
    images = put(random.integers(0, 256, (IMAGES, 28, 28), np.uint8))
    labels = put(random.integers(0, 10, IMAGES, np.int32))
    order = put(np.resize(random.permutation(IMAGES).astype(np.int32), steps * recipe.batch_size))
    indices = list(put(np.arange(steps, dtype=np.int32)))

    def one_by_one(function, state, metrics, steps):
        for index in indices[:steps]:
            state, metrics = function(state, metrics, images, labels, order, index, keys.step)
        return state, metrics

    def at_once(function, state, metrics, steps):
        return function(state, metrics, images, labels, order, np.int32(0), np.int32(steps), keys.step)

    def compiled(jitted, loop, *counts):
        """Through `lower` and `compile`, so that their times come apart and nothing can compile again."""
        state, metrics = start()
        began = time.perf_counter()
        lowered = jitted.lower(state, metrics, images, labels, order, *counts, keys.step)
        traced = time.perf_counter()
        program = lowered.compile()
        done = time.perf_counter()
        return Variant(partial(loop, program), state, metrics, traced - began, done - traced)

    # The chunk first, as its is the time that a training pays; the step then finds parts of it traced.
    chunked = compiled(programs.train_chunk, at_once, np.int32(0), np.int32(steps))
    jitted = compiled(programs.epoch_step, one_by_one, np.int32(0))
    # Not `jax.disable_jit()`: it drops the compile cache of single primitives and is 100 times slower.
    unjitted = partial(one_by_one, programs.epoch_step.__wrapped__)
    variants = {"unjitted": Variant(unjitted, *start()), "jitted": jitted, "chunked": chunked}
    if recipe.augmentation != Augmentation():
        plain = build_programs(model, dataclasses.replace(recipe, augmentation=Augmentation()), device)
        variants["unaugmented"] = compiled(plain.train_chunk, at_once, np.int32(0), np.int32(steps))
    return variants


_Variants = dict[str, Variant | TorchProcess]


def _warm_up(variants: _Variants, lengths: dict[str, int], report: Callable[[str], None]) -> dict[str, Any]:
    """What the beginning costs: seconds of the very first step, and memory."""
    costs = {}
    # Un-jitted last: its hundreds of little programs take most of the memory, and peaks never fall.
    for name, variant in reversed(variants.items()):
        first_step = variant.measure(1)
        variant.measure(lengths[name])
        costs[name] = {"first_step_seconds": first_step, "peak_memory_bytes": variant.peak_memory()}
        report(f"{name} is warm")
    return costs


def _measure_in_turn(
    variants: _Variants, lengths: dict[str, int], repeats: int, report: Callable[[str], None]
) -> dict[str, list[float]]:
    """Seconds of each variant's repeats."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for repeat in range(1, repeats + 1):
        for name, variant in variants.items():
            seconds[name].append(variant.measure(lengths[name]))
        last = (f"{name} {seconds[name][-1] / lengths[name] * 1e3:,.2f}" for name in variants)
        report(f"repeat {repeat}/{repeats}: {', '.join(last)} ms per step")
    return seconds


def _summary(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def _ratio(rates: list[float], others: list[float]) -> dict[str, float]:
    # Repeat by repeat: neighbours in time had the same machine.
    return _summary([rate / other for rate, other in zip(rates, others, strict=True)])


@contextlib.contextmanager
def _no_compile_cache() -> Iterator[None]:
    """Without the persistent cache of compiled programs, whose hits would pass for compile times."""
    before = jax.config.values["jax_enable_compilation_cache"]
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()  # JAX decides once whether there is a cache; this makes it decide anew
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
        compilation_cache.reset_cache()
