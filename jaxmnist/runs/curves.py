"""Pictures of a run, drawn without a display."""

import io
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jaxmnist.config.run import RunConfig
from jaxmnist.runs.folder import read_config, read_metrics

PLOTS = "plots"

_DPI = 120

_SPLITS = {
    "train": ("train (augmented, while training)", "tab:blue", "-"),
    "val": ("val", "tab:green", "-"),
    "test": ("test", "tab:orange", "-"),
    "plain_val": ("val, weights not averaged", "tab:green", ":"),
    "plain_test": ("test, weights not averaged", "tab:orange", ":"),
}


def save_curves(run: Path) -> list[Path]:
    """Draws loss, accuracy and learning rate over the epochs into the run's `plots/`; returns the files."""
    rows = read_metrics(run)
    if not rows:
        return []
    config = read_config(run)
    title = run_title(config)
    folder = run / PLOTS
    folder.mkdir(exist_ok=True)
    return [
        save_figure(_curves(rows, "loss", "mean negative log-likelihood", title), folder / "loss.png"),
        save_figure(_curves(rows, "accuracy", "accuracy (%)", title), folder / "accuracy.png"),
        save_figure(_learning_rates(rows, config, title), folder / "learning_rate.png"),
    ]


def run_title(config: RunConfig) -> str:
    """What a run trains, as titles of pictures say it."""
    return f"{config.arch}, recipe {config.recipe.name}, {config.dataset}, seed {config.seed}"


def _curves(rows: list[dict[str, Any]], metric: str, label: str, title: str) -> Figure:
    figure, axes = _axes(f"{metric.capitalize()}: {title}", label)
    epochs = [row["epoch"] for row in rows]
    for split, (name, colour, line) in _SPLITS.items():
        key = f"{split}_{metric}"
        if key not in rows[0]:
            continue
        values = [row[key] for row in rows]
        axes.plot(epochs, values, line, marker="o", markersize=4, color=colour, label=name)
    axes.legend()
    return figure


def _learning_rates(rows: list[dict[str, Any]], config: RunConfig, title: str) -> Figure:
    when, style = (
        ("", "steps-mid") if config.recipe.schedule is None else (" at the end of each epoch", "default")
    )
    figure, axes = _axes(f"Learning rate: {title}", f"learning rate{when} (log scale)")
    epochs, rates = [row["epoch"] for row in rows], [row["learning_rate"] for row in rows]
    axes.plot(epochs, rates, marker="o", markersize=4, drawstyle=style)
    axes.set_yscale("log")
    # A constant rate has no range of its own: show the decade around it instead of an unlabelled axis.
    axes.set_ylim(min(rates) / 3, max(rates) * 3)
    return figure


def _axes(title: str, label: str) -> tuple[Figure, Any]:
    # `Figure` rather than `pyplot`: no window system, no global state.
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=11)
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    return figure, axes


def as_png(figure: Figure) -> tuple[bytes, tuple[int, int]]:
    """The bytes of a PNG, its width and its height."""
    out = io.BytesIO()
    figure.savefig(out, dpi=_DPI)
    width, height = (round(inches * _DPI) for inches in figure.get_size_inches())
    return out.getvalue(), (width, height)


def save_figure(figure: Figure, path: Path) -> Path:
    """Writes a PNG and returns its path."""
    figure.savefig(path, dpi=_DPI)
    return path
