"""Plots of a run's loss, accuracy and learning rate, drawn without a display."""

import base64
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from jaxmnist.config.run import RunConfig
from jaxmnist.data.dataset import dataset_title
from jaxmnist.errors import escaped
from jaxmnist.models import arch_title
from jaxmnist.runs.folder import read_config
from jaxmnist.runs.record import read_record
from jaxmnist.runtime.files import replacing

PLOTS = "plots"
"""Subfolder of a run folder."""

CURVES = {
    "train": "train (augmented, while training)",
    "val": "val",
    "test": "test",
    "plain_val": "val, weights not averaged",
    "plain_test": "test, weights not averaged",
}
"""Names of the curves in legends, by the prefix of their keys in the metrics."""

_DPI = 120
_STYLES = {
    "train": ("tab:blue", "-"),
    "val": ("tab:green", "-"),
    "test": ("tab:orange", "-"),
    "plain_val": ("tab:green", ":"),
    "plain_test": ("tab:orange", ":"),
}


class Curves(list[Path]):
    """Files of a run's curves, which a notebook shows as pictures."""

    def __init__(self, files: Sequence[Path] = (), figures: Sequence[Figure] = ()) -> None:
        super().__init__(files)
        self.figures = list(figures)
        """The figures in the files, to change or to save in another format."""

    def _repr_html_(self) -> str:
        pictures = (base64.b64encode(as_png(figure)[0]).decode() for figure in self.figures)
        return "".join(f'<img src="data:image/png;base64,{picture}">' for picture in pictures)


def save_curves(run: Path) -> Curves:
    """Draws loss, accuracy and learning rate over the epochs into the run's `plots/`; returns the files."""
    rows = read_record(run).rows
    if not rows:
        return Curves()
    config = read_config(run)
    title = run_title(config)
    folder = run / PLOTS
    folder.mkdir(exist_ok=True)
    figures = {
        "loss": _curves(rows, "loss", "mean negative log-likelihood", title),
        "accuracy": _curves(rows, "accuracy", "accuracy (%)", title),
        "learning_rate": _learning_rates(rows, config, title),
    }
    files = [save_figure(figure, folder / f"{name}.png") for name, figure in figures.items()]
    return Curves(files, list(figures.values()))


def run_title(config: RunConfig) -> str:
    """Returns the title of a run's plots: arch, recipe, dataset and seed."""
    parts = arch_title(config.arch), f"recipe {config.recipe.name}", dataset_title(config.dataset)
    return f"{', '.join(parts)}, seed {config.seed}"


def plain(text: str, longest: int = 24) -> str:
    """Returns a text that Matplotlib draws as it is, and cut: a dollar sign would begin a formula."""
    text = escaped(text)
    text = text if len(text) <= longest else f"{text[: longest - 3]}..."
    return text.replace("$", r"\$")


def as_png(figure: Figure) -> tuple[bytes, tuple[int, int]]:
    """Returns the bytes of a PNG, and its width and height."""
    out = io.BytesIO()
    _save(figure, out)
    width, height = (round(inches * _DPI) for inches in figure.get_size_inches())
    return out.getvalue(), (width, height)


def save_figure(figure: Figure, path: Path) -> Path:
    """Writes a PNG and returns its path."""
    with replacing(path) as file:
        _save(figure, file)
    return path


def _save(figure: Figure, file: io.BufferedIOBase) -> None:
    # Titles name data of the user's own: Matplotlib fails on bytes that are not UTF-8, and on formulas with faults.
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_text(escaped(text.get_text(), but="\n"))
        if "$" in text.get_text() and r"\$" not in text.get_text():
            text.set_parse_math(False)
    with warnings.catch_warnings():
        # The name of a class may be in any script; tables and pages show it where the font here draws a box.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(file, dpi=_DPI, format="png")  # pyright: ignore[reportArgumentType]


def _curves(rows: list[dict[str, Any]], metric: str, label: str, title: str) -> Figure:
    figure, axes = _axes(f"{metric.capitalize()}: {title}", label)
    epochs = [row["epoch"] for row in rows]
    for prefix, (colour, line) in _STYLES.items():
        key = f"{prefix}_{metric}"
        if key in rows[0]:
            values = [row[key] for row in rows]
            axes.plot(epochs, values, line, marker="o", markersize=4, color=colour, label=CURVES[prefix])
    axes.legend()
    return figure


def _learning_rates(rows: list[dict[str, Any]], config: RunConfig, title: str) -> Figure:
    constant = config.recipe.schedule is None  # within an epoch
    when = "" if constant else " at the end of each epoch"
    figure, axes = _axes(f"Learning rate: {title}", f"learning rate{when} (log scale)")
    epochs, rates = [row["epoch"] for row in rows], [row["learning_rate"] for row in rows]
    axes.plot(epochs, rates, marker="o", markersize=4, drawstyle="steps-mid" if constant else "default")
    axes.set_yscale("log")
    # A constant rate has no range of its own: show the decade around it instead of an unlabelled axis.
    axes.set_ylim(min(rates) / 3, max(rates) * 3)
    return figure


def _axes(title: str, label: str) -> tuple[Figure, Axes]:
    # `Figure` rather than `pyplot`: no window system, no global state.
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=11)
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    return figure, axes
