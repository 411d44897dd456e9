"""Plot of a sweep: accuracy over each of its axes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from jaxmnist.experiments.sweep.members import value_text
from jaxmnist.report.plots.accuracy_axis import errors_of, label_accuracies
from jaxmnist.runs.curves import PLOTS, save_figure

_HEIGHT = 3.4  # of the axes, in inches
_MOST = 4  # panels in a row
_LOG_SPAN = 20.0  # ratio from which numbers are drawn on a logarithmic axis


def save_sweep_picture(
    folder: Path, figures: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> list[Path]:
    """Draws `plots/sweep.png`: a panel for each field, a point for each member on the last rung it reached.

    Args:
        folder: the sweep's folder.
        figures: contents of its `summary.json`.
        rows: lines of its `results.jsonl`.

    Returns:
        The file written; none if no member has a score.
    """
    rows = [row for row in rows if row["last_epoch"] is not None]
    if not rows:
        return []
    (folder / PLOTS).mkdir(exist_ok=True)
    fields = list(rows[0]["values"])
    columns = min(_MOST, len(fields))
    lines = -(-len(fields) // columns)
    figure = Figure(figsize=(max(5.0, 3.2 * columns), _HEIGHT * lines + 0.8), layout="constrained")
    panels = figure.subplots(lines, columns, sharey=True, squeeze=False)
    for panel, field in zip(panels.flat, fields, strict=False):
        _draw(panel, field, rows, any(text.startswith(f"{field}=log:") for text in figures["over"]))
    for panel in list(panels.flat)[len(fields) :]:
        panel.set_visible(False)
    errors = errors_of([row["last_epoch"]["mean"] for row in rows])
    first = panels[0][0]
    first.set_yscale("log")
    first.set_ylim(1.15 * max(errors), min(errors) / 1.15)
    label_accuracies(first, _HEIGHT)
    for line in panels:
        line[0].set_ylabel(f"{figures['split']} accuracy (%), log scale of the error", fontsize=9)
    title = f"{len(rows)} members ({figures['method']}), {figures['dataset']}, last epoch"
    figure.suptitle(title, fontsize=11)
    if figures["rungs"]:
        handles, labels = first.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", fontsize=9, frameon=False, ncols=5)
    return [save_figure(figure, folder / PLOTS / "sweep.png")]


def _draw(panel: Axes, field: str, rows: Sequence[Mapping[str, Any]], is_log: bool) -> None:
    """Draws the members of a sweep, the best first, over one field."""
    values = [row["values"][field] for row in rows]
    is_number = all(type(value) in (int, float) for value in values)
    words = sorted(set(map(value_text, values)))
    places = values if is_number else [words.index(value_text(value)) for value in values]
    errors = errors_of([row["last_epoch"]["mean"] for row in rows])
    for rung in sorted({row["rung"] or 0 for row in rows}):
        at = [index for index, row in enumerate(rows) if (row["rung"] or 0) == rung]
        x, y = ([points[index] for index in at] for points in (places, errors))
        panel.plot(x, y, "o", markersize=5, alpha=0.7, label=f"{rows[at[0]]['epochs']} epochs")
    panel.plot(places[0], errors[0], "o", color="black", fillstyle="none", markersize=11)
    if not is_number:
        panel.set_xticks(range(len(words)), words)
        panel.margins(x=0.2)
    elif is_log or (min(values) > 0 and max(values) > _LOG_SPAN * min(values)):
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter("{x:g}")
        panel.xaxis.set_minor_formatter(NullFormatter())
    panel.set_xlabel(field)
    panel.grid(alpha=0.3)
