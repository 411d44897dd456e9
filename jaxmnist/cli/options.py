"""Options of every command, and types of options with a value name of their own in the help text."""

import dataclasses
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from jaxmnist.config import RECIPES
from jaxmnist.data import DATASETS
from jaxmnist.data.dataset import Fit
from jaxmnist.errors import JaxmnistWarning
from jaxmnist.models import ARCHS

if TYPE_CHECKING:
    from rich.console import Console

    from jaxmnist.data import Dataset
    from jaxmnist.runtime.devices import Device as JaxDevice


UNWRAPPED = 500
"""Columns of output that goes to a file or a pipe, where another program reads it line by line."""


def _names(names: tuple[str, ...]) -> str:
    return "{" + ",".join(names) + "}"


def _optional(metavar: str) -> object:
    # Without a hint of its own the help text would end in "(default: None)".
    return tyro.conf.arg(metavar=metavar, help_behavior_hint="")


Device = Literal["auto", "cpu", "gpu", "metal", "tpu"]
Arch = Annotated[str, tyro.conf.arg(metavar=_names((*ARCHS, "FILE.py:CLASS")))]
OptionalArch = Annotated[str | None, _optional(_names((*ARCHS, "FILE.py:CLASS")))]
RecipeName = Annotated[str, tyro.conf.arg(metavar=_names(RECIPES))]
OptionalRecipe = Annotated[str | None, _optional(_names(RECIPES))]
OptionalDataset = Annotated[str | None, _optional(_names((*DATASETS, "PATH")))]
OptionalFit = Annotated[Fit | None, _optional("{mnist,stretch,pad}")]
Settings = Annotated[
    tyro.conf.UseAppendAction[tuple[str, ...]],
    tyro.conf.arg(name="set", metavar="FIELD=VALUE", help_behavior_hint="(repeatable)"),
]
OptionalFolder = Annotated[Path | None, _optional("FOLDER")]
OptionalFile = Annotated[Path | None, _optional("FILE")]
OptionalSource = Annotated[Path | None, _optional("RUN|WEIGHTS")]
OptionalInt = Annotated[int | None, _optional("INT")]
OptionalFloat = Annotated[float | None, _optional("FLOAT")]
RunFolders = Annotated[
    tyro.conf.Positional[tuple[Path, ...]],
    tyro.conf.arg(metavar="RUN [RUN ...]", help_behavior_hint="(required)"),
]
RunOrWeights = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN|WEIGHTS|NAME")]


@dataclasses.dataclass(frozen=True)
class Command:
    """Options of every command."""

    device: Device = "auto"
    """Device to compute on; auto prefers an accelerator."""
    json: bool = False
    """Print the results as one JSON object; everything else goes to standard error."""
    no_compile_cache: bool = False
    """Neither read nor write the cache of compiled programs."""
    debug: bool = False
    """Show the traceback of an error."""

    def run(self) -> None:
        """Runs the command.

        Raises:
            JaxmnistError: an error that the user can fix; it carries the exit code.
        """
        raise NotImplementedError

    def start(self) -> "JaxDevice":
        """Selects the device and turns on the cache of compiled programs."""
        from jaxmnist.runtime.devices import select_device, use_compile_cache
        from jaxmnist.runtime.jax_settings import keep_own_settings

        keep_own_settings()
        device = select_device(self.device)
        if not self.no_compile_cache:
            use_compile_cache()
        return device

    def console(self) -> "Console":
        """Returns the console for messages: standard error if JSON goes to standard output."""
        from jaxmnist.report.terminal.console import SafeConsole

        console = SafeConsole(stderr=self.json)
        if not console.is_terminal:
            console.width = max(console.width, UNWRAPPED)
        return console

    def no_console(self) -> "Console":
        """Returns a console that prints nothing, for processes whose messages process 0 prints."""
        from rich.console import Console

        # Not a terminal: a display that draws nothing would still catch what others print.
        return Console(quiet=True, force_terminal=False)


def load_or_fall_back(
    console: "Console",
    name: str | None,
    data_dir: Path | None,
    fit: Fit | None = None,
    test: Path | str | None = None,
) -> "Dataset":
    """Loads the named dataset; without a name mnist or, if it cannot be found, the digits, with a warning in a box.

    The dataset's notes, on rare classes or files that were skipped, become warnings.
    """
    from jaxmnist.data import DataUnavailableError, load_dataset
    from jaxmnist.report.terminal import print_warning_box

    try:
        dataset = load_dataset(name or "mnist", data_dir, fit=fit, test=test)
        for note in dataset.notes:
            warnings.warn(note, JaxmnistWarning, stacklevel=2)
        return dataset
    except DataUnavailableError as error:
        if name is not None:
            raise
        print_warning_box(
            console,
            "This is not MNIST. The run uses the digits embedded in scikit-learn: 1,797 handwritten digits of "
            f"8x8 pixels, scaled to 28x28.\n\nReason: {error}",
        )
        return load_dataset("digits")
