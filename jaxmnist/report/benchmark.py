"""What `jaxmnist.benchmark.benchmark` measured, in the terminal."""

from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table


def print_benchmark(console: Console, result: dict[str, Any]) -> None:
    """A table of the variants, medians above their ranges, and what they were measured on; 80 columns do."""
    recipe, environment = result["recipe"], result["environment"]
    table = Table(
        title=f"Training steps of {result['arch']} ({result['parameters']:,} parameters), recipe "
        f"{recipe['name']}, batch {recipe['batch_size']}",
        box=SIMPLE,
        title_justify="left",
        title_style="bold",
    )
    table.add_column("variant")
    for heading in ("images/s", "ms per step", "to compile", "speed-up"):
        table.add_column(heading, justify="right")
    for name, row in result["variants"].items():
        rate, step, speedup = row["images_per_second"], row["milliseconds_per_step"], row["over_unjitted"]
        table.add_row(
            _label(name, row, result),
            _median_over_range(rate, ",.0f"),
            _median_over_range(step, _decimals(step["max"])),
            _compile_time(row),
            "" if name == "unjitted" else _median_over_range(speedup, ".1f", "x"),
        )
    console.print(table)
    packages = environment["packages"]
    lines = [
        f"Medians of {result['repeats']} repeats taken in turn, their ranges below; speed-up over un-jitted.",
        "* The un-jitted step compiles one primitive after the other, all within its first step.",
        f"Data: {result['data']}.",
        f"Peak memory: {_megabytes(result)}, all variants together.",
        f"On {environment['device']}, {environment['processor']}, {environment['cpu_count']} cores; "
        f"Python {environment['python']}, JAX {packages['jax']}, jaxlib {packages['jaxlib']}.",
    ]
    if (torch := result["torch"]) is not None:
        ratio = result["variants"]["chunked"]["over_torch"]
        lines += [
            f"PyTorch {torch['version']} in its own process, {torch['threads']} threads, peak memory "
            f"{_megabytes(torch)}; {torch['data']}.",
            f"Chunked against PyTorch: {ratio['median']:.2f}x ({ratio['min']:.2f}-{ratio['max']:.2f}).",
        ]
    for line in lines:
        console.print(line, highlight=False, markup=False)


def _label(name: str, row: dict[str, Any], result: dict[str, Any]) -> str:
    calls = {
        "unjitted": "un-jitted step\na call per primitive",
        "jitted": "jitted step\na call per step",
        "chunked": f"chunked\na call per {row['steps']} steps",
        "torch": "PyTorch, eager\nno augmentation",
    }
    return calls[name]


def _median_over_range(summary: dict[str, float], form: str, unit: str = "") -> str:
    low, middle, high = (f"{summary[key]:{form}}" for key in ("min", "median", "max"))
    return f"{middle}{unit}\n{low}-{high}"


def _decimals(largest: float) -> str:
    return ",.1f" if largest >= 100 else ".2f" if largest >= 1 else ".4f"


def _compile_time(row: dict[str, Any]) -> str:
    if row["compile_seconds"] is not None:
        return f"{row['trace_seconds'] + row['compile_seconds']:.1f} s"
    return "" if row["over_unjitted"]["median"] != 1 else f"{row['first_step_seconds']:.1f} s *"


def _megabytes(holder: dict[str, Any]) -> str:
    return f"{holder['peak_memory_bytes'] / 1e6:,.0f} MB"
