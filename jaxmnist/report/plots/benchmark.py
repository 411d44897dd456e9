"""Pictures of the results of `jaxmnist.diagnostics.benchmark`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from jaxmnist.report.terminal.benchmark import growth_title, variant_label
from jaxmnist.runs.curves import save_figure

_COLOURS = {"chunked": "tab:blue", "torch": "tab:red", "pipeline": "tab:orange"}
_NAMES = {
    "chunked": "jaxmnist",
    "torch": "PyTorch, data in memory",
    "pipeline": "PyTorch, Pillow in a DataLoader",
}


def save_benchmark_picture(path: Path, results: Sequence[dict[str, Any]]) -> Path | None:
    """Draws training rates: all variants of one network, or several networks and batch sizes.

    Args:
        path: PNG file to write.
        results: results of `benchmark`, one for each network and batch size.

    Returns:
        The path, or None if no training was measured.
    """
    results = [result for result in results if "train" in result]
    if not results:
        return None
    figure = _variants(results[0]) if len(results) == 1 else _networks(results)
    axes = figure.axes[0]
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    axes.set_xlabel("images per second (median and range)")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    return save_figure(figure, path)


def _variants(result: dict[str, Any]) -> Figure:
    rows = result["train"]
    figure = Figure(figsize=(7, 0.9 + 0.6 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, (name, row) in enumerate(rows.items()):
        _bar(axes, place, row["images_per_second"], 0.6, _COLOURS.get(name, "tab:gray"))
    labels = [variant_label(name, row, result["seeds"]) for name, row in rows.items()]
    axes.set_yticks(range(len(rows)), labels)
    axes.set_title(f"Training steps of {result['arch']}, batch {result['recipe']['batch_size']}")
    return figure


def _networks(results: Sequence[dict[str, Any]]) -> Figure:
    names = [name for name in _NAMES if any(name in result["train"] for result in results)]
    figure = Figure(figsize=(7, 1.2 + 0.24 * (len(names) + 1) * len(results)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(names)
    for number, result in enumerate(results):
        for offset, name in enumerate(names):
            if row := result["train"].get(name):
                place = number + (offset - (len(names) - 1) / 2) * height
                _bar(axes, place, row["images_per_second"], height, _COLOURS[name])
    labels = [f"{result['arch']}\nbatch {result['recipe']['batch_size']}" for result in results]
    axes.set_yticks(range(len(results)), labels)
    if len(names) > 1:
        axes.legend(handles=[Patch(color=_COLOURS[name], label=_NAMES[name]) for name in names])
    axes.set_title("Training steps")
    return figure


def _bar(axes: Axes, place: int | float, rate: dict[str, float], height: float, colour: str) -> None:
    middle, reach = _error_bars([rate])
    axes.barh(place, middle, height, xerr=reach, color=colour, ecolor="0.3", capsize=2)
    offset = {"xytext": (4, 0), "textcoords": "offset points"}
    axes.annotate(f"{middle[0]:,.0f}", (rate["max"], place), va="center", fontsize="small", **offset)


def _error_bars(
    summaries: list[dict[str, float]], scale: float = 1.0
) -> tuple[list[float], list[list[float]]]:
    """Medians, and their distances from the minima and the maxima."""
    low, middle, high = ([scale * each[key] for each in summaries] for key in ("min", "median", "max"))
    below = [median - least for median, least in zip(middle, low, strict=True)]
    above = [most - median for median, most in zip(middle, high, strict=True)]
    return middle, [below, above]


def save_growth_picture(path: Path, result: dict[str, Any]) -> Path:
    """Draws the time of an epoch over each axis in a panel of its own, on logarithmic scales.

    Args:
        path: PNG file to write.
        result: result of `growth`.

    Returns:
        The path.
    """
    measured = result["axes"]
    columns = min(3, len(measured))
    rows = -(-len(measured) // columns)
    figure = Figure(figsize=(3.4 * columns, 3.2 * rows), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel, (name, axis) in zip(panels, measured.items(), strict=False):
        names, sizes = axis.get("names", ()), axis["sizes"]
        seconds, reach = _error_bars(axis["milliseconds"], scale=1e-3)
        panel.errorbar(sizes, seconds, yerr=reach, fmt="o" if names else "o-", markersize=4, capsize=2)
        for label, size, time in zip(names, sizes, seconds, strict=False):
            panel.annotate(label, (size, time), xytext=(3, 3), textcoords="offset points", fontsize=6)
        panel.set_xscale("log")
        panel.set_yscale("log")
        _format_ticks(panel)
        if not names:
            panel.set_xticks(sizes, [f"{size:,}" for size in sizes], fontsize="small")
        panel.set_xlabel("parameters of the networks" if names else name)
        panel.set_ylabel("seconds per epoch")
        if axis["exponent"] is not None:
            panel.set_title(f"time ~ {name}^{axis['exponent']:.2f}", fontsize="medium")
    for panel in panels[len(measured) :]:
        panel.set_visible(False)
    figure.suptitle(f"How the time of an epoch grows: {growth_title(result)}")
    return save_figure(figure, path)


def _format_ticks(panel: Axes) -> None:
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axis.set_minor_formatter(NullFormatter())
    low, high = panel.get_ylim()
    if high < 10 * low:  # less than a decade: label the steps in between
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
