"""Plot of a learning-rate range test."""

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from jaxmnist.experiments.lr_range import RangeResult
from jaxmnist.runs.curves import save_figure

_OPTIMIZERS = {"published": "SGD with Nesterov momentum", "recipe": "the recipe's optimizer"}


def save_range(result: RangeResult, title: str, path: Path) -> Path:
    """Draws the losses of a test over the learning rate, with the suggested rate.

    Args:
        result: the result of the test.
        title: description of the run; the settings of the test are added in a second line.
        path: the file.

    Returns:
        The path.
    """
    settings, rates, smoothed, kept = result.settings, result.rates, result.smoothed, result.kept
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    axes.set_title(
        f"Learning-rate range test: {title}\n"
        f"{settings.start:g} to {settings.end:g} in {settings.steps:,} steps of {_OPTIMIZERS[settings.optimizer]}, "
        f"{'diverged' if result.diverged else 'ended'} after {len(rates):,}",
        fontsize=11,
    )
    axes.set_xlabel("learning rate (log scale)")
    axes.set_ylabel("mean negative log-likelihood of a batch")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3)
    axes.plot(rates, result.losses, color="tab:blue", alpha=0.4, linewidth=0.7, label="loss of a step")
    axes.plot(rates, smoothed, color="tab:blue", linewidth=2.2, label="smoothed loss")
    if len(rates):
        if settings.end / settings.start > 1_000:  # decades only
            axes.xaxis.set_major_locator(LogLocator())
        axes.set_xlim(settings.start, settings.end)
        ends = rates[[0, min(kept.start, len(rates) - 1), kept.stop - 1, -1]].tolist()
        axes.axvspan(*ends[:2], color="0.85", label="not considered")
        axes.axvspan(*ends[2:], color="0.85")
        # Room for the smoothed loss without the explosion at its end.
        axes.set_ylim(0, 1.15 * float(smoothed[: max(1, kept.stop - result.diverged)].max()))
    if result.suggestion is not None:
        divided = f", divided by {settings.divisor:g}" if settings.divisor != 1 else ""
        label = f"suggested: {result.suggestion:.4g} (steepest fall, step {result.step}{divided})"
        axes.axvline(result.suggestion, color="tab:red", linewidth=1.4, label=label)
    # Below the axes, as a curve may pass through any corner.
    title = "no learning rate suggested" if result.suggestion is None else ""
    figure.legend(loc="outside lower center", ncols=4, frameon=False, title=title)
    return save_figure(figure, path)
