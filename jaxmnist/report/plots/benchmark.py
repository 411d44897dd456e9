"""Pictures of what `jaxmnist.diagnostics.benchmark.benchmark` measured."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from jaxmnist.report.terminal.benchmark import LABELS, growth_title
from jaxmnist.runs.curves import save_figure

_COLOURS = {"chunked": "tab:blue", "torch": "tab:red", "pipeline": "tab:orange"}
_NAMES = {
    "chunked": "jaxmnist",
    "torch": "PyTorch, data in memory",
    "pipeline": "PyTorch, Pillow in a DataLoader",
}


def save_benchmark_picture(path: Path, results: Sequence[dict[str, Any]]) -> Path | None:
    """Draws training rates: of one network's variants, of several networks, or over the batch size.

    Args:
        path: the PNG to write.
        results: what `benchmark` returned for each network and batch size.

    Returns:
        The path, or None where no training was measured.
    """
    results = [result for result in results if "train" in result]
    if not results:
        return None
    if len(results) == 1:
        figure = _variants(results[0])
    elif len({result["recipe"]["batch_size"] for result in results}) == len(results):
        figure = _over_batch_size(results)
    else:
        figure = _networks(results)
    return save_figure(figure, path)


def _variants(result: dict[str, Any]) -> Figure:
    rows = result["train"]
    figure = Figure(figsize=(7, 0.9 + 0.6 * len(rows)), layout="constrained")
    axes = figure.subplots()
    labels = [LABELS[name].format(count=row["count"], seeds=result["seeds"]) for name, row in rows.items()]
    _bars(axes, range(len(rows)), list(rows.values()), [_COLOURS.get(name, "tab:gray") for name in rows], 0.6)
    axes.set_yticks(range(len(rows)), labels)
    _finish(axes, f"Training steps of {result['arch']}, batch {result['recipe']['batch_size']}")
    return figure


def _networks(results: Sequence[dict[str, Any]]) -> Figure:
    names = [name for name in _NAMES if any(name in result["train"] for result in results)]
    figure = Figure(figsize=(7, 1.2 + 0.24 * (len(names) + 1) * len(results)), layout="constrained")
    axes = figure.subplots()
    for offset, name in enumerate(names):
        found = [(i, result["train"][name]) for i, result in enumerate(results) if name in result["train"]]
        places = [i + (offset - (len(names) - 1) / 2) * 0.8 / len(names) for i, _ in found]
        _bars(axes, places, [row for _, row in found], _COLOURS[name], 0.8 / len(names), label=_NAMES[name])
    axes.set_yticks(
        range(len(results)),
        [f"{result['arch']}\nbatch {result['recipe']['batch_size']}" for result in results],
    )
    if len(names) > 1:
        axes.legend()
    _finish(axes, "Training steps")
    return figure


def _bars(
    axes: Any, places: Any, rows: list[dict[str, Any]], colour: Any, height: float, **options: Any
) -> None:
    rates = [row["images_per_second"] for row in rows]
    middle = [rate["median"] for rate in rates]
    reach = [
        [rate["median"] - rate["min"] for rate in rates],
        [rate["max"] - rate["median"] for rate in rates],
    ]
    axes.barh(list(places), middle, height, xerr=reach, color=colour, ecolor="0.3", capsize=2, **options)
    for place, rate in zip(places, rates, strict=True):
        axes.annotate(
            f"{rate['median']:,.0f}",
            (rate["max"], place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize="small",
        )


def _finish(axes: Any, title: str) -> None:
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    axes.set_xlabel("images per second (median and range)")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_title(title)


def _over_batch_size(results: Sequence[dict[str, Any]]) -> Figure:
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    results = sorted(results, key=lambda result: result["recipe"]["batch_size"])
    sizes = [result["recipe"]["batch_size"] for result in results]
    for name, label in _NAMES.items():
        if name not in results[0]["train"]:
            continue
        rates = [result["train"][name]["images_per_second"] for result in results]
        axes.plot(sizes, [rate["median"] for rate in rates], marker="o", color=_COLOURS[name], label=label)
        low, high = [rate["min"] for rate in rates], [rate["max"] for rate in rates]
        axes.fill_between(sizes, low, high, color=_COLOURS[name], alpha=0.2, linewidth=0)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(LogLocator(base=2))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("images per batch (log scale)")
    axes.set_ylabel("images per second (median and range)")
    axes.set_title(f"Training steps of {results[0]['arch']}")
    axes.legend()
    return figure


def save_growth_picture(path: Path, result: dict[str, Any]) -> Path:
    """Draws the time of an epoch over what grows, a panel for each axis, both scales logarithmic."""
    measured = result["axes"]
    columns = min(3, len(measured))
    rows = -(-len(measured) // columns)
    figure = Figure(figsize=(3.4 * columns, 3.2 * rows), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel, (name, axis) in zip(panels, measured.items(), strict=False):
        times = axis["milliseconds"]
        middle = [time["median"] / 1e3 for time in times]
        reach = [
            [(time["median"] - time["min"]) / 1e3 for time in times],
            [(time["max"] - time["median"]) / 1e3 for time in times],
        ]
        style = "o" if "names" in axis else "o-"
        panel.errorbar(axis["sizes"], middle, yerr=reach, fmt=style, markersize=4, capsize=2)
        for label, size, time in zip(axis.get("names", ()), axis["sizes"], middle, strict=False):
            panel.annotate(label, (size, time), xytext=(3, 3), textcoords="offset points", fontsize=6)
        panel.set_xscale("log")
        panel.set_yscale("log")
        _plain_log_ticks(panel, axis["sizes"] if "names" not in axis else None)
        panel.set_xlabel(name if "names" not in axis else "parameters of the networks")
        panel.set_ylabel("seconds per epoch")
        if axis["exponent"] is not None:
            panel.set_title(f"time ~ {name}^{axis['exponent']:.2f}", fontsize="medium")
    for panel in panels[len(measured) :]:
        panel.set_visible(False)
    figure.suptitle(f"How the time of an epoch grows: {growth_title(result)}")
    return save_figure(figure, path)


def _plain_log_ticks(panel: Any, sizes: list[int] | None) -> None:
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axis.set_minor_formatter(NullFormatter())
    low, high = panel.get_ylim()
    if high < 10 * low:  # less than a decade: name the steps in between
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    if sizes is not None:
        panel.set_xticks(sizes, [f"{size:,}" for size in sizes], fontsize="small")
