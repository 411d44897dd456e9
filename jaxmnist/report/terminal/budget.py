"""Networks for a budget in the terminal: the one to take, or a table of all, within 80 columns."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from jaxmnist.errors import counted
from jaxmnist.experiments.frontier import Choice
from jaxmnist.report.terminal import print_facts


def print_choice(console: Console, choice: Choice) -> None:
    """Prints a network and its recipe, the accuracy to expect, and the command that trains it."""
    facts = {
        "network": f"{choice.arch}: {choice.parameters:,} parameters, {choice.size_kb:.1f} kB as float32",
        "work": f"{choice.multiply_adds:,} multiply-adds to classify an image",
        "recipe": f"{choice.recipe}: {counted(choice.epochs, 'epoch')}, {_seconds(choice)} s of training",
        "accuracy": f"{choice.accuracy:.3f} % of MNIST's test images, mean of {choice.seeds} seeds",
        "": f"95 % interval of the mean {choice.low:.3f} to {choice.high:.3f}; standard deviation "
        f"{choice.standard_deviation:.3f}",
        "command": choice.command,
    }
    print_facts(console, facts)


def print_choices(console: Console, choices: Sequence[Choice]) -> None:
    """Prints a table of networks and recipes."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("network", "recipe", "params", "seconds", "seeds", "mean %", "95 % interval"):
        table.add_column(
            heading, justify="left" if heading in ("network", "recipe") else "right", no_wrap=True
        )
    for choice in choices:
        table.add_row(
            choice.arch,
            choice.recipe,
            f"{choice.parameters:,}",
            _seconds(choice),
            str(choice.seeds),
            f"{choice.accuracy:.3f}",
            f"{choice.low:.2f} {choice.high:.2f}",
        )
    console.print(table)


def _seconds(choice: Choice) -> str:
    return f"{choice.seconds:.1f}" if choice.seconds < 20 else f"{choice.seconds:,.0f}"
