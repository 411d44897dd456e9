"""Speed of training, evaluation and prediction, beside PyTorch where that is installed.

The content of images does not affect the time, so images are random and no dataset is needed. All variants are
measured in turn, see `jaxmnist.diagnostics.benchmark.turns`.
"""

import contextlib
import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxmnist.config import Recipe
from jaxmnist.diagnostics.benchmark.inference import EVALUATED, evaluation, prediction
from jaxmnist.diagnostics.benchmark.start import starts
from jaxmnist.diagnostics.benchmark.torch_process import TorchProcess
from jaxmnist.diagnostics.benchmark.training import IMAGES, Training, seeds_together, trainings
from jaxmnist.diagnostics.benchmark.turns import (
    Row,
    Turn,
    Variant,
    measure_in_turn,
    no_compile_cache,
    speed_ratio,
    summary,
    timed,
)
from jaxmnist.errors import UsageError
from jaxmnist.models import create_model
from jaxmnist.models.structure import layers, totals
from jaxmnist.runs.environment import environment
from jaxmnist.runtime.devices import Device

Task = Literal["start", "train", "evaluate", "predict"]

UNJITTED_SHARE = 20
"""Factor by which a repeat of the un-jitted step has fewer steps, as it is tens of times slower."""

PREDICTIONS = 200
"""Images in a repeat of predictions."""

EPOCH_IMAGES = 60_000
"""Training images of an epoch, as many as MNIST has."""

PRODUCTS = 10
"""Products of matrices in a repeat."""

_SIDE = 1024
_PRODUCT_FLOP = 2 * _SIDE**3  # a multiplication and an addition are two operations


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
    """Measures a network; compiles everything, even if a compile cache is set up.

    Args:
        arch: name of the network.
        recipe: batch size, augmentation and optimizer; schedule and epochs play no part.
        device: device to compute on.
        tasks: tasks to measure.
        repeats: number of measurements of each variant; a figure worth quoting takes 5 or more.
        steps: training steps in a repeat; un-jitted `steps // UNJITTED_SHARE`, at least one.
        unjitted: True measures the un-jitted step as well, whose primitives take long to compile.
        seeds: number of seeds to train in one program, `at_once` and `in_a_row`; 0 leaves these variants out.
        with_torch: True measures PyTorch as well.
        report: receives a line about progress.

    Returns:
        Results and conditions as JSON values. `train`, `evaluate` and `predict` each map variants to rows of
        `measure_in_turn`.

        The variants of `train` are `unjitted`, `jitted`, `chunked`, `unaugmented` (in chunks, if the recipe
        augments), `at_once` and `in_a_row` (several seeds), `torch` (data in memory, not augmented), the same with
        `torch.compile` as `torch_compiled`, `torch_channels_last`, `torch_processes` (one a core), and `pipeline`
        (PyTorch with a DataLoader that augments with Pillow). All but `unjitted` and the seeds use all cores. Rows
        have `trace_seconds` and `compile_seconds` if the whole step is one program; `gflops`, the rate of the
        arithmetic of convolutions and linear layers; and `of_peak`, its share of `peak_gflops`, the rate of large
        matrix products. `chunked` has `augmentation_share`, the share of its time that `unaugmented` saves.

        `start` is the result of `jaxmnist.diagnostics.benchmark.start.starts`.

        The variants of `evaluate` and `predict` are `jax` and `torch`, and `pipeline` for `evaluate`. If all of
        them were measured, `epoch` has the seconds of training on `EPOCH_IMAGES` and evaluating `EVALUATED` for
        `jax` (in chunks), `torch` and `pipeline`.

        Ratios of speed, `over_unjitted`, `over_torch` and so on, are taken repeat by repeat; `over_best_torch` is that
        over the variant of PyTorch with the lowest median, `best_torch`. `load_average` is
        that of the minute before. On a busy machine no figure holds, least of all PyTorch's, whose threads wait
        actively.

    Raises:
        UsageError: a number is out of range, the arch is unknown, or PyTorch is wanted but unavailable.
    """
    if repeats < 1 or steps < 1:
        raise UsageError(f"--repeats {repeats} of --steps {steps} measure nothing; give 1 or more of both.")
    if recipe.batch_size > IMAGES:
        raise UsageError(
            f"--batch-size {recipe.batch_size} exceeds the {IMAGES:,} images of the benchmark; give a smaller one."
        )
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
            if fault := torch.facts["pipeline_fault"]:
                report(f"the sources' pipeline is left out, as torchvision cannot be used ({fault})")
            for name, fault in torch.facts["peers"].items():
                if fault is not None:
                    report(f"PyTorch {name} is left out ({fault})")
        stack.enter_context(no_compile_cache())
        if "train" in tasks:
            turns = _training_turns(arch, recipe, device, steps, unjitted, seeds, torch, report)
            result |= {"seeds": seeds, **_train(turns, device, repeats, size.multiply_adds, report)}
        for task, build, count in (
            ("evaluate", evaluation, EVALUATED),
            ("predict", prediction, PREDICTIONS),
        ):
            if task in tasks:
                turns = {"jax": Turn(build(arch, recipe, device), count)}
                if torch is not None:
                    turns["torch"] = Turn(torch.task(task), count)
                    if task == "evaluate" and torch.facts["pipeline_fault"] is None:
                        turns["pipeline"] = Turn(torch.task("pipeline_evaluate"), count)
                rows = measure_in_turn(turns, repeats, lambda line, task=task: report(f"{task}: {line}"))
                for other in [name for name in rows if name != "jax"]:
                    rows["jax"][f"over_{other}"] = speed_ratio(rows["jax"], rows[other])
                result[task] = rows
        if torch is not None and {"train", "evaluate"} <= set(tasks):
            steps = math.ceil(EPOCH_IMAGES / recipe.batch_size)
            result["epoch"] = _epoch(result["train"], result["evaluate"], steps)
        result["torch"] = torch and torch.facts
    return result | {"load_average": load_average, "environment": environment(device)}


def _training_turns(
    arch: str,
    recipe: Recipe,
    device: Device,
    steps: int,
    unjitted: bool,
    seeds: int,
    torch: TorchProcess | None,
    report: Callable[[str], None],
) -> dict[str, Turn]:
    batch_size = recipe.batch_size
    made = trainings(arch, recipe, device, steps, unjitted)
    report("the jitted step and the chunk are compiled")
    turns = {name: Turn(training, steps, batch_size) for name, training in made.items()}
    if unjitted:
        turns["unjitted"] = Turn(made["unjitted"], max(1, steps // UNJITTED_SHARE), batch_size)
    if seeds:
        share = max(1, steps // seeds)
        together = seeds_together(arch, recipe, device, share, seeds)
        report(f"the programs of {seeds} seeds are compiled")
        turns |= {name: Turn(training, share, seeds * batch_size) for name, training in together.items()}
    if torch is not None:
        usable = [name for name, fault in torch.facts["peers"].items() if fault is None]
        tasks = {"torch": "train"} | {f"torch_{name}": name for name in usable}
        turns |= {name: Turn(torch.task(task), steps, batch_size) for name, task in tasks.items()}
        if torch.facts["pipeline_fault"] is None:
            turns["pipeline"] = Turn(torch.task("pipeline"), steps, batch_size)
    return turns


def _train(
    turns: dict[str, Turn],
    device: Device,
    repeats: int,
    multiply_adds: int,
    report: Callable[[str], None],
) -> dict[str, Any]:
    rows = measure_in_turn(turns | {"peak": Turn(_matrix_products(device), PRODUCTS)}, repeats, report)
    peaks = [PRODUCTS * _PRODUCT_FLOP / seconds for seconds in rows.pop("peak")["seconds"]]
    torches = [name for name in rows if name.startswith("torch")]
    others = [name for name in ("unjitted", *torches, "pipeline") if name in rows]
    if "at_once" in rows:
        others.append("chunked")
    for name, row in rows.items():
        training = turns[name].variant
        if isinstance(training, Training):
            row |= {"trace_seconds": training.trace_seconds, "compile_seconds": training.compile_seconds}
            row |= {f"over_{other}": speed_ratio(row, rows[other]) for other in others}
            if torches:
                best = min(torches, key=lambda other: rows[other]["milliseconds"]["median"])
                row |= {"best_torch": best, "over_best_torch": row[f"over_{best}"]}
        # Each product of the forward pass has two in the backward pass.
        flop = 3 * 2.0 * multiply_adds * row["images"] * row["count"]
        rates = [flop / seconds for seconds in row["seconds"]]
        row["gflops"] = summary([rate / 1e9 for rate in rates])
        row["of_peak"] = summary([rate / peak for rate, peak in zip(rates, peaks, strict=True)])
    if "unaugmented" in rows:
        pairs = zip(rows["chunked"]["seconds"], rows["unaugmented"]["seconds"], strict=True)
        rows["chunked"]["augmentation_share"] = summary([1 - plain / whole for whole, plain in pairs])
    return {"peak_gflops": summary([peak / 1e9 for peak in peaks]), "train": rows}


def _matrix_products(device: Device) -> Variant:
    """Products of two float32 matrices of 1,024 rows and columns, one after the other: the peak rate."""
    shape = (2, _SIDE, _SIDE)
    a, b = jax.device_put(jax.random.normal(jax.random.key(0), shape), device)
    product = jax.jit(partial(jnp.matmul, precision="highest"))

    def multiply(count: int) -> jax.Array:
        result = a
        for _ in range(count):
            result = product(a, b)
        return result

    return timed(multiply)


def _epoch(train: dict[str, Row], evaluate: dict[str, Row], steps: int) -> dict[str, Any]:
    """Seconds of these steps and an evaluation, added repeat by repeat, and their ratios."""
    seconds = {}
    names = [name for name in ("jax", "torch", "pipeline") if name in evaluate]
    for name in names:
        row = train["chunked" if name == "jax" else name]
        pairs = zip(row["seconds"], evaluate[name]["seconds"], strict=True)
        seconds[name] = [steps / row["count"] * training + evaluation for training, evaluation in pairs]
    parts: dict[str, Any] = {name: summary(values) for name, values in seconds.items()}
    for name in names[1:]:
        pairs = zip(seconds["jax"], seconds[name], strict=True)
        parts[f"over_{name}"] = summary([theirs / ours for ours, theirs in pairs])
    return parts | {"images": EPOCH_IMAGES, "evaluated": EVALUATED}
