"""Results of `jaxmnist.diagnostics.benchmark` in the terminal."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from jaxmnist.models import arch_title

LABELS = {
    "unjitted": "un-jitted step\ncall per primitive",
    "jitted": "jitted step\ncall per step",
    "chunked": "chunked\ncall per {count} steps",
    "unaugmented": "chunked\nno augmentation",
    "at_once": "{seeds} seeds at once\none program, vmap",
    "in_a_row": "{seeds} seeds in a row\none program, map",
    "torch": "PyTorch, eager\nin memory, plain",
    "torch_channels_last": "PyTorch, eager\nchannels last",
    "torch_compiled": "PyTorch, compiled\ntorch.compile",
    "torch_processes": "PyTorch, eager\na process a core",
    "pipeline": "PyTorch, eager\nPillow, DataLoader",
}
"""Name of each variant of training, with a remark on a second line."""

_OVER = {"over_unjitted": "speed-up", "over_torch": "against PyTorch", "": ""}
_FRAMEWORKS = {"jax": "JAX", "torch": "PyTorch, eager", "pipeline": "PyTorch, DataLoader"}
_INFERENCE = {"evaluate": "evaluate {count:,} images", "predict": "predict one image"}


def print_benchmark(console: Console, result: dict[str, Any]) -> None:
    """Prints tables of the variants, medians above their ranges, and the conditions, in 80 columns."""
    recipe = result["recipe"]
    console.print(
        f"[bold]{arch_title(result['arch'])}[/bold]: {result['parameters']:,} parameters, {result['multiply_adds']:,} "
        f"multiply-adds; recipe {recipe['name']}, batch {recipe['batch_size']}"
    )
    if "train" in result:
        seeds = result["seeds"]
        rows = {
            LABELS[name].format(count=row["count"], seeds=seeds): row for name, row in result["train"].items()
        }
        console.print(_variants_table("Training steps", rows))
    rows = {
        f"{_INFERENCE[task].format(count=row['count'])}\n{_FRAMEWORKS[name]}": row
        for task in _INFERENCE
        for name, row in result.get(task, {}).items()
    }
    if rows:
        console.print(_variants_table("Evaluation and prediction, times of one image", rows))
    _print(console, f"Medians of {result['repeats']} repeats taken in turn, their ranges below.")
    if "start" in result:
        _print(console, *_remarks_on_starts(result["start"]))
    if "train" in result:
        _print(console, *_remarks_on_training(result))
    if "epoch" in result:
        _print(console, _epoch_sentence(result["epoch"]))
    _print(console, *_conditions(result))


def print_overview(console: Console, results: Sequence[dict[str, Any]]) -> None:
    """Prints a line for each network and batch size."""
    figures = {
        "images/s": ("train", "chunked", "images_per_second", ",.0f"),
        "ms/step": ("train", "chunked", "milliseconds", ",.1f"),
        "GFLOP/s": ("train", "chunked", "gflops", ".1f"),
        "of peak": ("train", "chunked", "of_peak", ".0%"),
        "over torch": ("train", "chunked", "over_torch", ".2f"),
        "evaluation": ("evaluate", "jax", "images_per_second", ",.0f"),
        "one, ms": ("predict", "jax", "milliseconds", ".2f"),
    }
    columns = {"batch": [str(result["recipe"]["batch_size"]) for result in results]}
    for heading, (task, variant, name, form) in figures.items():
        rows = [result.get(task, {}).get(variant, {}) for result in results]
        columns[heading] = [f"{row[name]['median']:{form}}" if name in row else "" for row in rows]
    archs = [arch_title(result["arch"]) for result in results]
    console.print(_table("Networks and batch sizes", "network", archs, columns))
    _print(
        console,
        f"Medians of {results[0]['repeats']} repeats; training in chunks with augmentation, evaluation in images/s, "
        "one image from array to digit in ms. GFLOP/s count convolutions and linear layers, a step as three "
        "forward passes; their peak is that of large matrix products in the same minutes.",
        *_conditions(results[0]),
    )


def print_growth(console: Console, result: dict[str, Any]) -> None:
    """Prints a sentence for each axis, and the conditions."""
    console.print(
        f"[bold]How the time of an epoch grows[/bold]: {arch_title(result['arch'])}, recipe {result['recipe']['name']}"
    )
    _print(console, *(growth_sentence(name, axis) for name, axis in result["axes"].items()))
    environment = result["environment"]
    _print(
        console,
        f"Other axes stay at {result['epoch']:,} images, batch {result['recipe']['batch_size']} and one seed, or 8 "
        f"seeds for devices. Medians of {result['repeats']} epochs of each size, taken in turn. On "
        f"{environment['device']}, {environment['processor']}, {environment['cpu_count']} cores.",
    )


def growth_sentence(name: str, axis: dict[str, Any]) -> str:
    """Returns the growth along one axis as a sentence."""
    sizes, times = axis["sizes"], [time["median"] for time in axis["milliseconds"]]
    if axis["exponent"] is None:
        return f"{name.capitalize()}: {sizes[0]:,} only, so nothing grows."
    return (
        f"{name.capitalize()} from {sizes[0]:,} to {sizes[-1]:,}: {times[0]:,.1f} to {times[-1]:,.1f} ms, "
        f"{times[-1] / times[0]:.2f} times; time goes as {name} to the power of {axis['exponent']:.2f}."
    )


def print_profiles(console: Console, results: Sequence[dict[str, Any]]) -> None:
    """Prints the shares of kinds of operations and of layers for each network."""
    for result in results:
        total = sum(result["layers"].values())
        console.print(
            f"[bold]{arch_title(result['arch'])}[/bold], recipe {result['recipe']}, batch {result['batch_size']}: "
            f"{result['milliseconds']:.1f} ms per training step while it is traced"
        )
        kinds = [times | {"together": sum(times.values())} for times in result["kinds"].values()]
        columns = {
            when: [f"{times[when] / total:.1%}" for times in kinds]
            for when in ("forward", "backward", "other", "together")
        }
        console.print(_table("", "operations", result["kinds"], columns))
        shares = {layer: time / total for layer, time in result["layers"].items() if time >= 0.01 * total}
        named = ", ".join(f"{layer} {share:.1%}" for layer, share in shares.items())
        _print(console, f"By layer: {named}, all others {1 - sum(shares.values()):.1%}.")


def _variants_table(title: str, rows: dict[str, dict[str, Any]]) -> Table:
    over = next((name for name in _OVER if any(name in row for row in rows.values())), "")
    columns: dict[str, list[str]] = {heading: [] for heading in ("images/s", "ms", "GFLOP/s", _OVER[over])}
    for row in rows.values():
        slowest = row["milliseconds"]["max"]
        form = ",.1f" if slowest >= 100 else ".2f" if slowest >= 1 else ".3f"
        cells = (
            _with_range(row["images_per_second"], ",.0f", "", "\n{}-{}"),
            _with_range(row["milliseconds"], form, "", "\n{}-{}"),
            f"{row['gflops']['median']:.1f}\n{row['of_peak']['median']:.0%}" if "gflops" in row else "",
            _with_range(row[over], ".2f", "x", "\n{}-{}") if over in row else "",
        )
        for column, cell in zip(columns.values(), cells, strict=True):
            column.append(cell)
    return _table(title, "variant", rows, columns)


def _remarks_on_starts(rows: dict[str, Any]) -> list[str]:
    caches = {"cold": "nothing compiled yet", "warm": "with the compile cache of an earlier run"}
    return [
        f"Start of train, {cache}: first progress after "
        f"{_with_range(rows[name]['first_progress_seconds'], '.2f', ' s')}; an epoch takes up to "
        f"{_with_range(rows[name]['peak_megabytes'], ',.0f', ' MB')}."
        for name, cache in caches.items()
    ]


def _remarks_on_training(result: dict[str, Any]) -> list[str]:
    rows = result["train"]
    chunked = rows["chunked"]
    compiled = [
        f"{name} {row['trace_seconds'] + row['compile_seconds']:.1f}"
        for name, row in rows.items()
        if row.get("compile_seconds") is not None
    ]
    if "unjitted" in rows:
        compiled.append(f"unjitted {rows['unjitted']['first_seconds']:.1f} (in its first step)")
    lines = [
        "GFLOP/s count convolutions and linear layers, a step as three forward passes; below them their share "
        f"of the rate of large matrix products, {result['peak_gflops']['median']:.0f} GFLOP/s.",
        f"To trace and compile, s: {', '.join(compiled)}.",
    ]
    if share := chunked.get("augmentation_share"):
        percent = {key: 100 * value for key, value in share.items()}
        lines.append(
            f"Augmentation takes {_with_range(percent, '.1f', ' %', ' ({} to {})')} of the chunk's time."
        )
    for name, data in (("over_torch", "in memory, plain"), ("over_pipeline", "Pillow in a DataLoader")):
        if name in chunked:
            lines.append(f"Chunked against PyTorch, {data}: {_with_range(chunked[name], '.2f', 'x')}.")
    if "best_torch" in chunked:
        best = LABELS[chunked["best_torch"]].replace("\n", ", ")
        lines.append(f"Against the fastest ({best}): {_with_range(chunked['over_best_torch'], '.2f', 'x')}.")
    memory = [f"{name} {row['peak_memory_bytes'] / 1e6:,.0f}" for name, row in rows.items()]
    return [*lines, f"Peak memory of the process when warm, MB: {', '.join(memory)}."]


def _epoch_sentence(epoch: dict[str, Any]) -> str:
    others = "; ".join(
        f"{title} {epoch[name]['median']:.1f} s, {_with_range(epoch[f'over_{name}'], '.2f', 'x')}"
        for name, title in (("torch", "PyTorch in memory"), ("pipeline", "Pillow in a DataLoader"))
        if name in epoch
    )
    return (
        f"Epoch of {epoch['images']:,} images and evaluation of {epoch['evaluated']:,}: "
        f"{epoch['jax']['median']:.1f} s; {others}."
    )


def _conditions(result: dict[str, Any]) -> list[str]:
    environment, torch = result["environment"], result["torch"]
    packages = environment["packages"]
    lines = [
        f"Data: {result['data']}.",
        f"On {environment['device']}, {environment['processor']}, {environment['cpu_count']} cores; "
        f"Python {environment['python']}, JAX {packages['jax']}, jaxlib {packages['jaxlib']}; "
        f"load average before the start {result['load_average']:.2f}.",
    ]
    if torch is not None:
        workers = torch.get("workers")
        workers = "" if workers is None else f", DataLoader workers {workers} (the fastest)"
        lines.append(f"PyTorch {torch['version']} in its own process, {torch['threads']} threads{workers}.")
    # Threads that spin at barriers lose a whole time slice to any other process: PyTorch's step took up to 40
    # times as long at a load of 2 to 4 on 2 cores.
    if result["load_average"] > environment["cpu_count"] / 4:
        lines.append("The machine was busy before the start: measure again when it is quiet.")
    return lines


def _table(title: str, first: str, labels: Iterable[str], columns: dict[str, list[str]]) -> Table:
    """Table of a column of labels and the columns that are not empty."""
    shown = {heading: cells for heading, cells in columns.items() if any(cells)}
    table = Table(box=SIMPLE, title=title or None, title_justify="left", title_style="bold")
    table.add_column(first, no_wrap=True)
    for heading in shown:
        table.add_column(heading, justify="right")
    for cells in zip(labels, *shown.values(), strict=True):
        table.add_row(*cells)
    return table


def _print(console: Console, *lines: str) -> None:
    for line in lines:
        console.print(line, highlight=False, markup=False)


def _with_range(summary: dict[str, float], form: str, unit: str, layout: str = " ({}-{})") -> str:
    low, middle, high = (f"{summary[key]:{form}}" for key in ("min", "median", "max"))
    return f"{middle}{unit}{layout.format(low, high)}"
