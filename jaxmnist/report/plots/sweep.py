"""A picture of a sweep: accuracy over each of its axes."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from jaxmnist.report.plots.accuracy_axis import errors_of, label_accuracies
from jaxmnist.runs.curves import PLOTS, save_figure

_HEIGHT = 3.4  # of the axes, in inches
_MOST = 4  # panels in a row
_COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:red", "tab:purple")
_LOG_SPAN = 20.0  # numbers that reach over more than that are drawn on a logarithmic axis


def save_sweep_picture(
    folder: Path, figures: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> list[Path]:
    """Draws `plots/sweep.png`: a panel for each field, a point for each member on the last rung it reached.

    Args:
        folder: of the sweep.
        figures: its `summary.json`.
        rows: lines of its `results.jsonl`.

    Returns:
        The file written; none where no member has a score.
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
    bottom, top = _limits(rows)
    for panel, field in zip(panels.flat, fields, strict=False):
        _draw(panel, field, rows, any(text.startswith(f"{field}=log:") for text in figures["over"]))
    for panel in list(panels.flat)[len(fields) :]:
        panel.set_visible(False)
    first = panels[0][0]
    first.set_yscale("log")
    first.set_ylim(bottom, top)
    label_accuracies(first, _HEIGHT)
    for line in panels:
        line[0].set_ylabel(f"{figures['split']} accuracy (%), log scale of the error", fontsize=9)
    figure.suptitle(
        f"{len(rows)} members ({figures['method']}), {figures['dataset']}, last epoch", fontsize=11
    )
    if figures["rungs"]:
        handles, labels = first.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", fontsize=9, frameon=False, ncols=5)
    return [save_figure(figure, folder / PLOTS / "sweep.png")]


def _draw(panel: Any, field: str, rows: Sequence[Mapping[str, Any]], is_log: bool) -> None:
    values = [row["values"][field] for row in rows]
    is_number = all(type(value) in (int, float) for value in values)
    words = sorted({json.dumps(value) for value in values})
    places = values if is_number else [words.index(json.dumps(value)) for value in values]
    for rung in sorted({row["rung"] or 0 for row in rows}):
        at = [(x, row) for x, row in zip(places, rows, strict=True) if (row["rung"] or 0) == rung]
        panel.plot(
            [x for x, _ in at],
            errors_of([row["last_epoch"]["mean"] for _, row in at]),
            "o",
            color=_COLOURS[(rung - 1) % len(_COLOURS)] if rung else _COLOURS[0],
            markersize=5,
            alpha=0.7,
            label=f"{at[0][1]['epochs']} epochs",
        )
    # Rows come best first.
    panel.plot(
        places[0],
        errors_of([rows[0]["last_epoch"]["mean"]]),
        "o",
        color="black",
        fillstyle="none",
        markersize=11,
    )
    if not is_number:
        panel.set_xticks(range(len(words)), [word.strip('"') for word in words])
        panel.margins(x=0.2)
    elif is_log or (min(values) > 0 and max(values) > _LOG_SPAN * min(values)):
        panel.set_xscale("log")
    panel.set_xlabel(field)
    panel.grid(alpha=0.3)


def _limits(rows: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    errors = errors_of([row["last_epoch"]["mean"] for row in rows])
    return 1.15 * max(errors), min(errors) / 1.15
