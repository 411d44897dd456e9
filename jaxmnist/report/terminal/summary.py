"""Layers of a network and their costs in the terminal, in 80 columns."""

from collections.abc import Callable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from jaxmnist.models.structure import Layer, Totals
from jaxmnist.report.terminal import print_line

_Columns = dict[str, Callable[[Layer], str]]
_NAMES: _Columns = {"layer": lambda layer: layer.name, "kind": lambda layer: layer.kind}
_INPUT: _Columns = {"input": lambda layer: _shape(layer.input_shape)}
_SIZES: _Columns = {
    "output": lambda layer: _shape(layer.output_shape),
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
    console.print(_table(name, [layer for layer in layers if layer.parameters], totals, _NAMES | _SIZES))
    print_line(
        console, f"{totals.parameters:,} trainable parameters, {totals.statistics:,} running statistics"
    )
    print_line(console)


def print_summary(console: Console, name: str, layers: Sequence[Layer], totals: Totals, budget: int) -> None:
    """Prints every layer with its costs, and the sums; `budget` is the largest number of parameters wanted."""
    before = ["", *(layer.name for layer in layers)]
    kinds = {layer.name: _kind(layer, previous) for layer, previous in zip(layers, before, strict=False)}
    named = _NAMES | {"kind": lambda layer: kinds[layer.name]}
    console.print(_table(name, layers, totals, named | _INPUT | _SIZES | _COSTS))
    for label, value in _lines(totals, budget):
        print_line(console, f"{label:<17}{value}")


def _table(name: str, layers: Sequence[Layer], totals: Totals, columns: _Columns) -> Table:
    table = Table(
        title=f"Network {name}",
        box=SIMPLE_HEAD,
        title_justify="left",
        title_style="bold",
        pad_edge=False,
        show_edge=False,
        padding=0,  # the box has a space between columns, and 80 columns are few
    )
    columns = {
        heading: cell for heading, cell in columns.items() if heading not in _COSTS or any(map(cell, layers))
    }
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
        ("kernels", "p padding, d dilation, s stride; 0, 1 and 1 where not given"),
        ("parameters", f"{totals.parameters:,} trainable, {totals.statistics:,} running statistics"),
        ("budget", f"{'over the budget: ' if share > 100 else ''}{percent} of {budget:,}"),
        ("multiply-adds", f"{totals.multiply_adds:,} for one image, in convolutions and linear layers"),
        ("receptive field", field),
        ("activations", f"{_mebibytes(totals.activation_bytes)} for one image, forward and backward"),
        ("", f"{_mebibytes(totals.weight_layer_activation_bytes)} of that in layers with parameters"),
        ("weights", _mebibytes(totals.parameter_bytes)),
        ("total memory", f"{_mebibytes(totals.total_bytes)}, the image included"),
    ]


def _kind(layer: Layer, previous: str) -> str:
    """Returns kind, window and inputs of a layer; the layer before it goes without saying."""
    words = [layer.kind]
    if layer.kernel_size is not None:
        words.append(_window_side(layer.kernel_size))
        words += [
            f"{letter}{value}".lower()
            for letter, value, usual in (
                ("p", layer.padding, 0),
                ("d", layer.dilation, 1),
                ("s", layer.stride, 1),
            )
            if value != usual
        ]
    if others := [name for name in layer.inputs if name != previous]:
        words += ["to" if layer.kind == "Add" else "of", *others]
    return " ".join(words)


def _window_side(size: int | str) -> str:
    return f"{size}x{size}" if isinstance(size, int) else size


def _shape(shape: tuple[int, int, int]) -> str:
    return "x".join(map(str, shape))


def _figure(value: int | None) -> str:
    return f"{value:,}" if value else ""


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.2f} MiB"
