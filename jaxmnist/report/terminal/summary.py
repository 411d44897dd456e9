"""Layers of a network and their costs in the terminal, in 80 columns."""

from collections.abc import Callable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from jaxmnist.models.structure import Layer, Totals
from jaxmnist.report.terminal import print_line

_Columns = dict[str, Callable[[Layer], str]]
_SIZES: _Columns = {
    "layer": lambda layer: layer.name,
    "kind": lambda layer: layer.kind,
    "output": lambda layer: " x ".join(map(str, layer.output_shape)),
    "params": lambda layer: _figure(layer.parameters),
}
_COSTS: _Columns = {
    "stats": lambda layer: _figure(layer.statistics),
    "mult-adds": lambda layer: _figure(layer.multiply_adds),
    "field": lambda layer: _figure(layer.receptive_field),
    "jump": lambda layer: _figure(layer.jump),
}


def print_network(console: Console, name: str, layers: Sequence[Layer], totals: Totals) -> None:
    """Prints the layers with parameters, and the number of parameters."""
    console.print(_table(name, [layer for layer in layers if layer.parameters], totals, _SIZES))
    print_line(
        console, f"{totals.parameters:,} trainable parameters, {totals.statistics:,} running statistics\n"
    )


def print_summary(console: Console, name: str, layers: Sequence[Layer], totals: Totals, budget: int) -> None:
    """Prints every layer with its costs, and the sums; `budget` is the largest number of parameters wanted."""
    console.print(_table(name, layers, totals, _SIZES | _COSTS))
    for label, value in _lines(totals, budget):
        print_line(console, f"{label:<17}{value}")


def _table(name: str, layers: Sequence[Layer], totals: Totals, columns: _Columns) -> Table:
    table = Table(
        title=f"Network {name}",
        box=SIMPLE_HEAD,
        title_justify="left",
        title_style="bold",
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for heading in columns:
        table.add_column(heading, justify="left" if heading in ("layer", "kind") else "right", no_wrap=True)
    for layer in layers:
        # Layers without parameters are dim, so that the others stand out.
        table.add_row(*(cell(layer) for cell in columns.values()), style=None if layer.parameters else "dim")
    table.add_section()
    sums = {
        "layer": "total",
        "params": _figure(totals.parameters),
        "stats": _figure(totals.statistics),
        "mult-adds": _figure(totals.multiply_adds),
    }
    table.add_row(*(sums.get(heading, "") for heading in columns), style="bold")
    return table


def _lines(totals: Totals, budget: int) -> list[tuple[str, str]]:
    share = 100 * totals.parameters / budget
    percent = f"{share:,.0f} %" if share >= 1000 else f"{share:.1f} %"
    field = f"{totals.receptive_field} pixels wide" if totals.receptive_field else "not known"
    if totals.receptive_field_of_average is not None:
        field += f", {totals.receptive_field_of_average} with the global average"
    return [
        ("parameters", f"{totals.parameters:,} trainable, {totals.statistics:,} running statistics"),
        ("budget", f"{'over the budget: ' if share > 100 else ''}{percent} of {budget:,}"),
        ("multiply-adds", f"{totals.multiply_adds:,} for one image, in convolutions and linear layers"),
        ("receptive field", field),
        ("activations", f"{_mebibytes(totals.activation_bytes)} for one image, forward and backward"),
        ("", f"{_mebibytes(totals.weight_layer_activation_bytes)} of that in layers with parameters"),
        ("weights", _mebibytes(totals.parameter_bytes)),
        ("total memory", f"{_mebibytes(totals.total_bytes)}, the image included"),
    ]


def _figure(value: int | None) -> str:
    return f"{value:,}" if value else ""


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.2f} MiB"
