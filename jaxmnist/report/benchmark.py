"""What `jaxmnist.benchmark.benchmark` measured, in the terminal."""

from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

_LABELS = {
    "unjitted": "un-jitted step\ncall per primitive",
    "jitted": "jitted step\ncall per step",
    "chunked": "chunked\ncall per {steps} steps",
    "unaugmented": "chunked\nno augmentation",
    "torch": "PyTorch, eager\nno augmentation",
}


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
    table.add_column("variant", no_wrap=True)
    for heading in ("images/s", "ms per step", "to compile", "speed-up"):
        table.add_column(heading, justify="right")
    for name, row in result["variants"].items():
        rate, step, speedup = row["images_per_second"], row["milliseconds_per_step"], row["over_unjitted"]
        table.add_row(
            _LABELS[name].format(steps=row["steps"]),
            _median_over_range(rate, ",.0f"),
            _median_over_range(step, ",.1f" if step["max"] >= 100 else ".2f" if step["max"] >= 1 else ".3f"),
            _compile_time(name, row),
            "" if name == "unjitted" else _median_over_range(speedup, ".1f", "x"),
        )
    console.print(table)
    packages = environment["packages"]
    memory = {name: f"{row['peak_memory_bytes'] / 1e6:,.0f} MB" for name, row in result["variants"].items()}
    lines = [
        f"Medians of {result['repeats']} repeats taken in turn, their ranges below; speed-up over un-jitted.",
        "* The un-jitted step compiles one primitive after the other, all within its first step.",
        f"Data: {result['data']}.",
        f"Peak memory: {memory['jitted']}, with the un-jitted step {memory['unjitted']}.",
        f"On {environment['device']}, {environment['processor']}, {environment['cpu_count']} cores; "
        f"Python {environment['python']}, JAX {packages['jax']}, jaxlib {packages['jaxlib']}; "
        f"load average before the start {result['load_average']:.2f}.",
    ]
    if (share := result["variants"]["chunked"].get("augmentation_share")) is not None:
        low, middle, high = (f"{100 * share[key]:.1f}" for key in ("min", "median", "max"))
        lines.append(f"Augmentation takes {middle} % of the chunk's time ({low} to {high} %).")
    if (torch := result["torch"]) is not None:
        ratio = result["variants"]["chunked"]["over_torch"]
        lines += [
            f"PyTorch {torch['version']} in its own process, {torch['threads']} threads, peak memory "
            f"{memory['torch']}; {torch['data']}.",
            f"Chunked against PyTorch: {ratio['median']:.2f}x ({ratio['min']:.2f}-{ratio['max']:.2f}).",
        ]
    # Threads that spin at barriers lose a whole time slice to any other process: PyTorch's step took up to 40
    # times as long at a load of 2 to 4 on 2 cores.
    if result["load_average"] > environment["cpu_count"] / 4:
        lines.append("The machine was busy before the start: measure again when it is quiet.")
    for line in lines:
        console.print(line, highlight=False, markup=False)


def _median_over_range(summary: dict[str, float], form: str, unit: str = "") -> str:
    low, middle, high = (f"{summary[key]:{form}}" for key in ("min", "median", "max"))
    return f"{middle}{unit}\n{low}-{high}"


def _compile_time(name: str, row: dict[str, Any]) -> str:
    if name == "unjitted":
        return f"{row['first_step_seconds']:.1f} s *"
    return "" if row["compile_seconds"] is None else f"{row['trace_seconds'] + row['compile_seconds']:.1f} s"
