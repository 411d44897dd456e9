"""Plot of the frontier: accuracy against parameters and against training time, with published figures beside."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from jaxmnist.experiments.frontier import Choice
from jaxmnist.report.plots.accuracy_axis import errors_of, label_accuracies
from jaxmnist.runs.curves import save_figure
from jaxmnist.runs.published import PUBLISHED

_HEIGHT = 5.0  # inches
_FAMILY = "flagship"
_LARGEST = 10_000  # parameters of a published network that is shown
_OURS, _OTHERS, _PUBLISHED = "tab:blue", "tab:green", "tab:orange"

ELSEWHERE = ((697, 99.03), (1_936, 99.13), (7_496, 99.50))
"""Parameters and accuracy of single models published elsewhere, picked on the test images.

The first is github.com/JoshWarn/Parameter-Efficient-MNIST, the best of some 700 trainings.
"""


def save_frontier(path: Path, choices: Sequence[Choice]) -> None:
    """Draws accuracy against parameters and against training time, both on a logarithmic axis.

    Published points below the axes are left out.

    Raises:
        OSError: the file cannot be written.
    """
    figure = Figure(figsize=(12, _HEIGHT + 1), layout="constrained")
    sizes, times = figure.subplots(1, 2, sharey=True)
    _scatter(sizes, choices, [choice.parameters for choice in choices])
    _scatter(times, choices, [choice.seconds for choice in choices])
    errors = errors_of([end for choice in choices for end in (choice.low, choice.high)] + [99.0])
    sizes.set_ylim(1.15 * max(errors), min(errors) / 1.15)
    points = [(run.parameters, run.best_test_accuracy) for run in PUBLISHED if run.parameters < _LARGEST]
    shown = [point for point in (*points, *ELSEWHERE) if 100 - point[1] <= max(errors)]
    sizes.plot(
        [parameters for parameters, _ in shown],
        errors_of([accuracy for _, accuracy in shown]),
        "o",
        color=_PUBLISHED,
        markerfacecolor="none",
        label="published single models, picked on the test images",
    )
    sizes.set_ylabel("accuracy on MNIST's test images (%), log scale of the error")
    sizes.set_xlabel("parameters (log scale)")
    times.set_xlabel("seconds of training (log scale)")
    label_accuracies(sizes, _HEIGHT)
    for axes in (sizes, times):
        axes.margins(x=0.2)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.grid(alpha=0.3)
    handles = sizes.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    save_figure(figure, path)


def _scatter(axes: Axes, choices: Sequence[Choice], positions: Sequence[int | float]) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    kinds = ((True, _OURS, "flagship family"), (False, _OTHERS, "other networks"))
    for is_own, colour, name in kinds:
        pairs = zip(choices, positions, strict=True)
        chosen = [pair for pair in pairs if pair[0].arch.startswith(_FAMILY) == is_own]
        for choice, position in chosen:
            mean, low, high = errors_of([choice.accuracy, choice.low, choice.high])
            axes.errorbar(position, mean, [[mean - high], [low - mean]], fmt="o", color=colour, capsize=3)
            if is_own:
                label = f"{choice.arch.removeprefix(f'{_FAMILY}_')}, {choice.recipe}"
                axes.annotate(label, (position, mean), (6, -9), textcoords="offset points", fontsize=7)
        if chosen:
            axes.plot([], [], "o", color=colour, label=f"{name}: mean over seeds, 95 % interval")
