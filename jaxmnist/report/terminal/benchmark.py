"""What `jaxmnist.diagnostics.benchmark.benchmark` measured, in the terminal."""

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

LABELS = {
    "unjitted": "un-jitted step\ncall per primitive",
    "jitted": "jitted step\ncall per step",
    "chunked": "chunked\ncall per {count} steps",
    "unaugmented": "chunked\nno augmentation",
    "at_once": "{seeds} seeds at once\none program, vmap",
    "in_a_row": "{seeds} seeds in a row\none program, map",
    "torch": "PyTorch, eager\nin memory, plain",
    "pipeline": "PyTorch, eager\nPillow, DataLoader",
}
"""Name of each variant of training, its second line a remark."""

_WHO = {"jax": "JAX", "torch": "PyTorch, eager", "pipeline": "PyTorch, DataLoader"}


def print_benchmark(console: Console, result: dict[str, Any]) -> None:
    """Tables of the variants, medians above their ranges, and what they were measured on; 80 columns do."""
    recipe = result["recipe"]
    console.print(
        f"[bold]{result['arch']}[/bold]: {result['parameters']:,} parameters, {result['multiply_adds']:,} "
        f"multiply-adds; recipe {recipe['name']}, batch {recipe['batch_size']}"
    )
    if "train" in result:
        console.print(_training_table(result["train"], result["seeds"]))
    if "evaluate" in result or "predict" in result:
        console.print(_inference_table(result))
    lines = [f"Medians of {result['repeats']} repeats taken in turn, their ranges below."]
    if "start" in result:
        lines += _remarks_on_starts(result["start"])
    if "train" in result:
        lines += _remarks_on_training(result)
    if "epoch" in result:
        lines.append(_epoch_sentence(result["epoch"]))
    for line in (*lines, *_conditions(result)):
        console.print(line, highlight=False, markup=False)


def print_overview(console: Console, results: Sequence[dict[str, Any]]) -> None:
    """A line for each network and batch size."""
    first = results[0]
    table = Table(box=SIMPLE, title="Networks and batch sizes", title_justify="left", title_style="bold")
    table.add_column("network", no_wrap=True)
    figures = {
        "batch": lambda result: f"{result['recipe']['batch_size']}",
        "images/s": lambda result: _figure(result, "train", "chunked", "images_per_second", ",.0f"),
        "ms/step": lambda result: _figure(result, "train", "chunked", "milliseconds", ",.1f"),
        "GFLOP/s": lambda result: _figure(result, "train", "chunked", "gflops", ".1f"),
        "of peak": lambda result: _figure(result, "train", "chunked", "of_peak", ".0%"),
        "over torch": lambda result: _figure(result, "train", "chunked", "over_torch", ".2f"),
        "evaluation": lambda result: _figure(result, "evaluate", "jax", "images_per_second", ",.0f"),
        "one, ms": lambda result: _figure(result, "predict", "jax", "milliseconds", ".2f"),
    }
    rows = [{name: value(result) for name, value in figures.items()} for result in results]
    shown = [name for name in figures if any(row[name] for row in rows)]
    for name in shown:
        table.add_column(name, justify="right")
    for result, row in zip(results, rows, strict=True):
        table.add_row(result["arch"], *(row[name] for name in shown))
    console.print(table)
    columns = (
        f"Medians of {first['repeats']} repeats; training in chunks with augmentation, evaluation in images/s, "
        "one image from array to digit in ms. GFLOP/s count convolutions and linear layers, a step as three "
        "forward passes; their peak is that of large matrix products in the same minutes."
    )
    for line in (columns, *_conditions(first)):
        console.print(line, highlight=False, markup=False)


def print_growth(console: Console, result: dict[str, Any]) -> None:
    """A line for each axis, and what was measured."""
    recipe, epoch = result["recipe"], result["epoch"]
    console.print(f"[bold]How the time of an epoch grows[/bold]: {growth_title(result)}")
    for name, axis in result["axes"].items():
        console.print(growth_sentence(name, axis), highlight=False, markup=False)
    environment = result["environment"]
    console.print(
        f"Where they do not grow: {epoch:,} images, batch {recipe['batch_size']}, one seed; 8 seeds on the devices. "
        f"Medians of {result['repeats']} epochs of each size, taken in turn. On {environment['device']}, "
        f"{environment['processor']}, {environment['cpu_count']} cores.",
        highlight=False,
        markup=False,
    )


def growth_title(result: dict[str, Any]) -> str:
    return f"{result['arch']}, recipe {result['recipe']['name']}"


def growth_sentence(name: str, axis: dict[str, Any]) -> str:
    """What the measured times of one axis say."""
    sizes, times = axis["sizes"], [time["median"] for time in axis["milliseconds"]]
    if axis["exponent"] is None:
        return f"{name.capitalize()}: {sizes[0]:,} only, so nothing grows."
    return (
        f"{name.capitalize()} from {sizes[0]:,} to {sizes[-1]:,}: {times[0]:,.1f} to {times[-1]:,.1f} ms, "
        f"{times[-1] / times[0]:.2f} times; time goes as {name} to the power of {axis['exponent']:.2f}."
    )


def print_profile(console: Console, result: dict[str, Any]) -> None:
    """The shares of kinds of operations and of layers."""
    kinds, by_layer = result["kinds"], result["layers"]
    total = sum(by_layer.values())
    console.print(
        f"[bold]{result['arch']}[/bold], recipe {result['recipe']}, batch {result['batch_size']}: "
        f"{result['milliseconds']:.1f} ms per training step while it is traced"
    )
    table = Table(box=SIMPLE)
    table.add_column("operations", no_wrap=True)
    for heading in ("forward", "backward", "other", "together"):
        table.add_column(heading, justify="right")
    for kind, times in kinds.items():
        shares = [f"{time / total:.1%}" for time in (*times.values(), sum(times.values()))]
        table.add_row(kind, *shares)
    console.print(table)
    shares = {layer: time / total for layer, time in by_layer.items()}
    named = [f"{layer} {share:.1%}" for layer, share in shares.items() if share >= 0.01]
    rest = 1 - sum(share for share in shares.values() if share >= 0.01)
    console.print(f"By layer: {', '.join(named)}, all others {rest:.1%}.", highlight=False, markup=False)


def _training_table(rows: dict[str, Any], seeds: int) -> Table:
    table = Table(box=SIMPLE, title="Training steps", title_justify="left", title_style="bold")
    table.add_column("variant", no_wrap=True)
    over = "over_unjitted" if "unjitted" in rows else "over_torch" if "torch" in rows else None
    headings = ["images/s", "ms per step", "GFLOP/s"]
    if over:
        headings.append("speed-up")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for name, row in rows.items():
        step = row["milliseconds"]
        cells = [
            LABELS[name].format(count=row["count"], seeds=seeds),
            _median_over_range(row["images_per_second"], ",.0f"),
            _median_over_range(step, ",.1f" if step["max"] >= 100 else ".2f" if step["max"] >= 1 else ".3f"),
            f"{row['gflops']['median']:.1f}\n{row['of_peak']['median']:.0%}",
        ]
        if over:
            cells.append(_median_over_range(row[over], ".1f", "x") if over in row else "")
        table.add_row(*cells)
    return table


def _inference_table(result: dict[str, Any]) -> Table:
    table = Table(box=SIMPLE, title="Evaluation and prediction", title_justify="left", title_style="bold")
    table.add_column("task", no_wrap=True)
    compared = result["torch"] is not None
    for heading in ("images/s", "ms", "against PyTorch")[: 3 if compared else 2]:
        table.add_column(heading, justify="right")
    labels = {"evaluate": "evaluate {count:,} images", "predict": "predict one image"}
    for task, label in labels.items():
        for name, row in result.get(task, {}).items():
            whole = row["count"] if task == "evaluate" else 1
            milliseconds = {key: whole * value for key, value in row["milliseconds"].items()}
            cells = [
                f"{label.format(count=row['count'])}\n{_WHO[name]}",
                _median_over_range(row["images_per_second"], ",.0f"),
                _median_over_range(milliseconds, ",.0f" if whole > 1 else ".2f"),
            ]
            if compared:
                ratio = row.get("over_torch")
                cells.append(_median_over_range(ratio, ".2f", "x") if ratio else "")
            table.add_row(*cells)
    return table


def _remarks_on_starts(rows: dict[str, Any]) -> list[str]:
    whats = {"cold": "nothing compiled yet", "warm": "with the compile cache of an earlier run"}
    lines = []
    for name, what in whats.items():
        seconds, size = rows[name]["first_progress_seconds"], rows[name]["peak_megabytes"]
        lines.append(
            f"Start of train, {what}: first progress after {seconds['median']:.2f} s "
            f"({seconds['min']:.2f}-{seconds['max']:.2f}); an epoch takes up to {size['median']:,.0f} MB "
            f"({size['min']:,.0f}-{size['max']:,.0f})."
        )
    return lines


def _remarks_on_training(result: dict[str, Any]) -> list[str]:
    rows = result["train"]
    chunked, peak = rows["chunked"], result["peak_gflops"]["median"]
    lines = [
        "GFLOP/s count convolutions and linear layers, a step as three forward passes; below them their share "
        f"of the rate of large matrix products, {peak:.0f} GFLOP/s.",
    ]
    compiled = [
        f"{name} {row['trace_seconds'] + row['compile_seconds']:.1f}"
        for name, row in rows.items()
        if row.get("compile_seconds") is not None
    ]
    lines.append(f"To trace and compile, s: {', '.join(compiled)}.")
    if "unjitted" in rows:
        first = rows["unjitted"]["first_seconds"]
        lines.append(
            f"Un-jitted, each primitive is compiled when it is met, in the first step: {first:.1f} s."
        )
    if (share := chunked.get("augmentation_share")) is not None:
        low, middle, high = (f"{100 * share[key]:.1f}" for key in ("min", "median", "max"))
        lines.append(f"Augmentation takes {middle} % of the chunk's time ({low} to {high} %).")
    if "torch" in rows:
        for name, what in (("over_torch", "in memory, plain"), ("over_pipeline", "Pillow in a DataLoader")):
            ratio = chunked[name]
            lines.append(
                f"Chunked against PyTorch, {what}: "
                f"{ratio['median']:.2f}x ({ratio['min']:.2f}-{ratio['max']:.2f})."
            )
    memory = [f"{name} {row['peak_memory_bytes'] / 1e6:,.0f}" for name, row in rows.items() if name != "peak"]
    return [*lines, f"Peak memory of the process when warm, MB: {', '.join(memory)}."]


def _epoch_sentence(epoch: dict[str, Any]) -> str:
    def against(name: str) -> str:
        low, middle, high = (f"{epoch[f'over_{name}'][key]:.2f}" for key in ("min", "median", "max"))
        return f"{epoch[name]['median']:.1f} s, {middle}x ({low}-{high})"

    return (
        f"Epoch of {epoch['images']:,} images and evaluation of {epoch['evaluated']:,}: "
        f"{epoch['jax']['median']:.1f} s; PyTorch in memory "
        f"{against('torch')}; Pillow in a DataLoader {against('pipeline')}."
    )


def _conditions(result: dict[str, Any]) -> list[str]:
    environment = result["environment"]
    packages = environment["packages"]
    lines = [
        f"Data: {result['data']}.",
        f"On {environment['device']}, {environment['processor']}, {environment['cpu_count']} cores; "
        f"Python {environment['python']}, JAX {packages['jax']}, jaxlib {packages['jaxlib']}; "
        f"load average before the start {result['load_average']:.2f}.",
    ]
    if (torch := result["torch"]) is not None:
        choices = {
            "workers": "DataLoader workers {}",
            "evaluation_workers": "{} in evaluation",
            "evaluation_batch": "evaluation in batches of {}",
        }
        found = [text.format(torch[name]) for name, text in choices.items() if name in torch]
        augments = f", augmentation by {torch['transforms']}" if "workers" in torch else ""
        lines.append(
            f"PyTorch {torch['version']} in its own process, {torch['threads']} threads{augments}"
            + "".join(f", {text}" for text in found)
            + (" (the fastest)." if found else ".")
        )
    # Threads that spin at barriers lose a whole time slice to any other process: PyTorch's step took up to 40
    # times as long at a load of 2 to 4 on 2 cores.
    if result["load_average"] > environment["cpu_count"] / 4:
        lines.append("The machine was busy before the start: measure again when it is quiet.")
    return lines


def _figure(result: dict[str, Any], task: str, variant: str, name: str, form: str) -> str:
    summary = result.get(task, {}).get(variant, {}).get(name)
    return f"{summary['median']:{form}}" if summary else ""


def _median_over_range(summary: dict[str, float], form: str, unit: str = "") -> str:
    low, middle, high = (f"{summary[key]:{form}}" for key in ("min", "median", "max"))
    return f"{middle}{unit}\n{low}-{high}"
