"""Terminal output. Here the lines that several commands print."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from rich.box import DOUBLE
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.text import Text

from jaxmnist.data import Dataset
from jaxmnist.errors import escaped


def print_line(console: Console, text: str = "") -> None:
    """Prints text as it is, on one line whatever names are in it: unwrapped, without markup or highlighting."""
    console.print(escaped(text), highlight=False, markup=False, soft_wrap=True)


def name_cell(name: str) -> Text:
    """Returns a name from outside as a cell of a table: on one line, without markup."""
    return Text(escaped(name))


def print_facts(console: Console, facts: Mapping[str, str]) -> None:
    """Prints facts by name, a line each; empty ones are left out."""
    for name, fact in facts.items():
        if fact:
            print_line(console, f"{name:<11}{fact}")


def print_files(console: Console, files: Iterable[Path]) -> None:
    """Prints the files that were written, a line each."""
    for file in files:
        print_line(console, f"Written: {file}")


def print_warning_box(console: Console, message: str) -> None:
    """Prints a message that must not be missed, in a box."""
    width = min(console.width, 80)
    panel = Panel(escape(message), box=DOUBLE, border_style="bold yellow", expand=False, padding=(0, 2))
    console.print(panel, width=width)


def data_phrase(dataset: Dataset) -> str:
    """Describes a dataset by its name or contents, and its origin."""
    what = f"{dataset.describe()}," if dataset.path else dataset.name
    return f"{what} from {dataset.source}"


def warn_of_digits(console: Console, dataset: str) -> None:
    """Warns that figures are not for MNIST, if the dataset is `digits`."""
    if dataset == "digits":
        print_warning_box(console, "These figures are for scikit-learn's digits. This is not MNIST.")
