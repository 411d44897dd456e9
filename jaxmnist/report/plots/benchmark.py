"""Pictures of the results of `jaxmnist.diagnostics.benchmark`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from jaxmnist.models import arch_title
from jaxmnist.report.terminal.benchmark import LABELS
from jaxmnist.runs.curves import save_figure

_COLOURS = {"chunked": "tab:blue", "torch": "tab:red", "pipeline": "tab:orange"}
_NAMES = {
    "chunked": "jaxmnist",
    "torch": "PyTorch, data in memory",
    "pipeline": "PyTorch, Pillow in a DataLoader",
}


def save_benchmark_picture(path: Path, results: Sequence[dict[str, Any]]) -> Path | None:
    """Draws training rates into a PNG file: all variants of one network, or several networks and batch sizes.

    Returns the path, or None if no training was measured.
    """
    results = [result for result in results if "train" in result]
    if not results:
        return None
    first, several = results[0], len(results) > 1
    if several:
        title = "Training steps"
        groups = {
            f"{arch_title(result['arch'])}\nbatch {result['recipe']['batch_size']}": {
                name: row for name, row in result["train"].items() if name in _NAMES
            }
            for result in results
        }
    else:
        title = f"Training steps of {arch_title(first['arch'])}, batch {first['recipe']['batch_size']}"
        groups = {
            LABELS[name].format(count=row["count"], seeds=first["seeds"]): {name: row}
            for name, row in first["train"].items()
        }
    most = max(len(rows) for rows in groups.values())
    figure = Figure(figsize=(7, 0.9 + 0.3 * (most + 1) * len(groups)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / most
    for number, rows in enumerate(groups.values()):
        for offset, (name, row) in enumerate(rows.items()):
            place = number + (offset - (len(rows) - 1) / 2) * height
            _bar(axes, place, row["images_per_second"], height, _COLOURS.get(name, "tab:gray"))
    if several and most > 1:
        axes.legend(handles=[Patch(color=_COLOURS[name], label=label) for name, label in _NAMES.items()])
    axes.set_title(title)
    axes.set_yticks(range(len(groups)), list(groups))
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    axes.set_xlabel("images per second (median and range)")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    return save_figure(figure, path)


def _bar(axes: Axes, place: float, rate: dict[str, float], height: float, colour: str) -> None:
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
    """Draws the time of an epoch over each axis into a PNG file, on logarithmic scales; returns the path."""
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
    figure.suptitle(
        f"How the time of an epoch grows: {arch_title(result['arch'])}, recipe {result['recipe']['name']}"
    )
    return save_figure(figure, path)


def _format_ticks(panel: Axes) -> None:
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axis.set_minor_formatter(NullFormatter())
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
