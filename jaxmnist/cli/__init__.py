"""The commands: one module and one dataclass each, its fields are the options, its docstrings the help text.

At the top of these modules only names are imported. A library loads when a command runs, so that help is quick.
"""

import importlib
from typing import TYPE_CHECKING

from jaxmnist.errors import unknown_name

if TYPE_CHECKING:
    from jaxmnist.cli.options import Command

COMMANDS = {
    "Train and search": {"train": "Train", "study": "Study", "sweep": "Sweep", "find_lr": "FindLr"},
    "Look": {
        "data": "Data",
        "summary": "Summary",
        "budget": "Budget",
        "preview": "Preview",
        "report": "Report",
        "compare": "Compare",
    },
    "Use": {"evaluate": "Evaluate", "predict": "Predict", "export": "Export", "demo": "Demo"},
    "Measure": {"benchmark": "Benchmark", "doctor": "Doctor"},
}
"""Groups of commands; in each the name of a command, which is also that of its module, and its class."""


_OTHER_NAMES = {"augment_preview": "preview"}  # the name of its script, after the sources'


def load_command(name: str) -> "type[Command]":
    """Imports a command's class.

    Args:
        name: a name in `COMMANDS`, with underscores or hyphens.

    Raises:
        UsageError: there is no such command.
    """
    classes = {known: cls for group in COMMANDS.values() for known, cls in group.items()}
    module = _OTHER_NAMES.get(name.replace("-", "_"), name.replace("-", "_"))
    if module not in classes:
        raise unknown_name("command", name, classes)
    return getattr(importlib.import_module(f"jaxmnist.cli.{module}"), classes[module])
