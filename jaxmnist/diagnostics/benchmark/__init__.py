"""How fast a network trains, evaluates and predicts, beside PyTorch where that is installed.

What images show does not change how long they take, so they are random and no dataset is needed. All that is
compared is measured in turn, see `jaxmnist.diagnostics.benchmark.turns`.
"""

import contextlib
import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from typing import Any, Literal

from jaxmnist.config import Recipe
from jaxmnist.diagnostics.benchmark.inference import EVALUATED, evaluation, prediction
from jaxmnist.diagnostics.benchmark.machine import PRODUCT_FLOP, matrix_products
from jaxmnist.diagnostics.benchmark.start import starts
from jaxmnist.diagnostics.benchmark.torch_process import TorchProcess
from jaxmnist.diagnostics.benchmark.training import IMAGES, seeds_together, trainings
from jaxmnist.diagnostics.benchmark.turns import (
    Row,
    Turn,
    measure_in_turn,
    no_compile_cache,
    speed_ratio,
    summary,
)
from jaxmnist.errors import UsageError
from jaxmnist.models import create_model
from jaxmnist.models.structure import layers, totals
from jaxmnist.runs.folder import environment
from jaxmnist.runtime.devices import Device

Task = Literal["start", "train", "evaluate", "predict"]

UNJITTED_SHARE = 20
"""The un-jitted step is tens of times slower, so a repeat of it has this many times fewer steps."""

PREDICTIONS = 200
"""Images in a repeat of predictions."""

EPOCH_IMAGES = 60_000
"""Images that an epoch trains on, as many as MNIST has for it."""

PRODUCTS = 10
"""Matrix products in a repeat."""


def benchmark(
    arch: str,
    recipe: Recipe,
    device: Device,
    *,
    tasks: Sequence[Task] = ("train", "evaluate", "predict"),
    repeats: int = 7,
    steps: int = 100,
    unjitted: bool = True,
    seeds: int = 0,
    with_torch: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measures a network. Compiles afresh, even where a compile cache is set up.

    Args:
        arch: name of the network.
        recipe: batch size, augmentation and optimizer; its schedule and epochs play no part.
        device: where to compute.
        tasks: what to measure.
        repeats: times that each variant is measured; a figure worth quoting takes 5 or more.
        steps: training steps in a repeat; un-jitted `steps // UNJITTED_SHARE`, at least one.
        unjitted: whether the un-jitted step is measured, too; to compile its primitives takes long.
        seeds: seeds to train together in one program, `at_once` and `in_a_row`; 0 leaves that out.
        with_torch: whether PyTorch is measured, too.
        report: told in one line what has been done.

    Returns:
        What was measured and where, ready for JSON. `train`, `evaluate` and `predict` each map variants to
        rows of `measure_in_turn`.

        Of `train` the variants are `unjitted`, `jitted`, `chunked`, `unaugmented` (in chunks, where the
        recipe augments), `at_once` and `in_a_row` (several seeds), `torch` (data in memory, not augmented)
        and `pipeline` (PyTorch with a DataLoader that augments with Pillow). Rows have `trace_seconds` and
        `compile_seconds` where one program is made of the whole step; `gflops`, the rate of the arithmetic
        of convolutions and linear layers; and `of_peak`, its share of the rate of large matrix products,
        which `peak_gflops` holds. `chunked` has `augmentation_share`, the part of its time that it takes
        longer than `unaugmented`.

        `start` is what `jaxmnist.diagnostics.benchmark.start.starts` returns.

        Of `evaluate` and `predict` the variants are `jax` and `torch`, of `evaluate` also `pipeline`. Where all
        of them were measured, `epoch` has the seconds of training with `EPOCH_IMAGES` and evaluating
        `EVALUATED`: of `jax` (in chunks), `torch` and `pipeline`.

        Ratios of speed, `over_unjitted`, `over_torch` and so on, are taken repeat by repeat. `load_average` is
        the system's of the minute before: on a busy machine no figure holds, PyTorch's least, as its threads
        wait actively.

    Raises:
        UsageError: a number is out of range, the arch is unknown, or PyTorch is asked for and cannot be had.
    """
    if repeats < 1 or steps < 1:
        raise UsageError(f"--repeats {repeats} of --steps {steps} measure nothing; give 1 or more of both.")
    if recipe.batch_size > IMAGES:
        raise UsageError(f"--batch-size {recipe.batch_size} is more than the benchmark's {IMAGES} images.")
    load_average = os.getloadavg()[0]
    size = totals(layers(create_model(arch)))
    result: dict[str, Any] = {
        "arch": arch,
        "parameters": size.parameters,
        "multiply_adds": size.multiply_adds,
        "recipe": dataclasses.asdict(recipe),
        "repeats": repeats,
        "data": f"random uint8 images, {IMAGES:,} for steps",
    }
    if "start" in tasks:
        result["start"] = starts(
            arch, recipe, device.platform, repeats, lambda line: report(f"start: {line}")
        )
    with contextlib.ExitStack() as stack:
        torch = None
        if with_torch:
            torch = stack.enter_context(TorchProcess(arch, recipe, IMAGES, device.platform))
            assert torch.facts["parameters"] == size.parameters, f"PyTorch's {arch} is another network"
            report(f"PyTorch {torch.facts['version']} is ready")
        stack.enter_context(no_compile_cache())
        if "train" in tasks:
            result["seeds"] = seeds
            rows = _train(arch, recipe, device, repeats, steps, unjitted, seeds, torch, report)
            peak = rows.pop("peak")
            result["peak_gflops"] = summary([PRODUCTS * PRODUCT_FLOP / s / 1e9 for s in peak["seconds"]])
            result["train"] = _with_arithmetic(rows, peak, size.multiply_adds)
        for task, build, count in (
            ("evaluate", evaluation, EVALUATED),
            ("predict", prediction, PREDICTIONS),
        ):
            if task in tasks:
                turns = {"jax": Turn(build(arch, recipe, device), count)}
                if torch is not None:
                    turns["torch"] = Turn(torch.task(task), count)
                    if task == "evaluate":
                        turns["pipeline"] = Turn(torch.task("pipeline_evaluate"), count)
                rows = measure_in_turn(turns, repeats, lambda line, task=task: report(f"{task}: {line}"))
                for other in [name for name in rows if name != "jax"]:
                    rows["jax"][f"over_{other}"] = speed_ratio(rows["jax"], rows[other])
                result[task] = rows
        if torch is not None and {"train", "evaluate"} <= set(tasks):
            result["epoch"] = _epoch(
                result["train"], result["evaluate"], math.ceil(EPOCH_IMAGES / recipe.batch_size)
            )
        result["torch"] = torch and torch.facts
    return result | {"load_average": load_average, "environment": environment(device)}


def _train(
    arch: str,
    recipe: Recipe,
    device: Device,
    repeats: int,
    steps: int,
    unjitted: bool,
    seeds: int,
    torch: TorchProcess | None,
    report: Callable[[str], None],
) -> dict[str, Row]:
    names = ("unjitted", "jitted", "chunked", "unaugmented")
    made = trainings(arch, recipe, device, steps, names if unjitted else names[1:])
    report("the jitted step and the chunk are compiled")
    counts = {"unjitted": max(1, steps // UNJITTED_SHARE)}
    turns = {
        name: Turn(training, counts.get(name, steps), recipe.batch_size) for name, training in made.items()
    }
    if seeds:
        together = seeds_together(arch, recipe, device, max(1, steps // seeds), seeds)
        report(f"the programs of {seeds} seeds are compiled")
        for name, training in together.items():
            turns[name] = Turn(training, max(1, steps // seeds), seeds * recipe.batch_size)
        made |= together
    if torch is not None:
        for name, task in (("torch", "train"), ("pipeline", "pipeline")):
            turns[name] = Turn(torch.task(task), steps, recipe.batch_size)
    turns["peak"] = Turn(matrix_products(device), PRODUCTS)
    rows = measure_in_turn(turns, repeats, report)
    for name, training in made.items():
        rows[name] |= {
            "trace_seconds": training.trace_seconds,
            "compile_seconds": training.compile_seconds,
        }
        others = {"unjitted": unjitted, "torch": torch, "pipeline": torch, "chunked": seeds}
        for other in (other for other, there in others.items() if there):
            images = turns[name].images / turns[other].images
            rows[name][f"over_{other}"] = speed_ratio(rows[name], rows[other], images)
    if "unaugmented" in rows:
        pairs = zip(rows["chunked"]["seconds"], rows["unaugmented"]["seconds"], strict=True)
        rows["chunked"]["augmentation_share"] = summary([1 - plain / whole for whole, plain in pairs])
    return rows


def _epoch(train: dict[str, Row], evaluate: dict[str, Row], steps: int) -> dict[str, Any]:
    """Seconds of so many steps and one evaluation, put together repeat by repeat, and their ratios."""
    seconds = {}
    for name, variant in (("jax", "chunked"), ("torch", "torch"), ("pipeline", "pipeline")):
        row = train[variant]
        pairs = zip(row["seconds"], evaluate[name]["seconds"], strict=True)
        seconds[name] = [steps / row["count"] * training + evaluation for training, evaluation in pairs]
    parts: dict[str, Any] = {name: summary(values) for name, values in seconds.items()}
    for name in ("torch", "pipeline"):
        pairs = zip(seconds["jax"], seconds[name], strict=True)
        parts[f"over_{name}"] = summary([theirs / ours for ours, theirs in pairs])
    return parts | {"images": EPOCH_IMAGES, "evaluated": EVALUATED}


def _with_arithmetic(rows: dict[str, Row], peak: Row, multiply_adds: int) -> dict[str, Row]:
    """The rows with the rate of their arithmetic: each product of the forward pass has two in the backward."""
    peaks = [PRODUCTS * PRODUCT_FLOP / seconds for seconds in peak["seconds"]]
    for row in rows.values():
        flop = 3 * 2.0 * multiply_adds * row["images"] * row["count"]
        rates = [flop / seconds for seconds in row["seconds"]]
        row["gflops"] = summary([rate / 1e9 for rate in rates])
        row["of_peak"] = summary([rate / top for rate, top in zip(rates, peaks, strict=True)])
    return rows
