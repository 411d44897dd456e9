"""What all commands share: common options, and the types of options that need a word in the help text."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from jaxmnist.config import RECIPES
from jaxmnist.data import DATASETS
from jaxmnist.models import ARCHS

if TYPE_CHECKING:
    from rich.console import Console

    from jaxmnist.data import Dataset


def _names(names: tuple[str, ...]) -> str:
    return "{" + ",".join(names) + "}"


def _optional(metavar: str) -> Any:
    # Without a hint of its own the help text would end in "(default: None)".
    return tyro.conf.arg(metavar=metavar, help_behavior_hint="")


Device = Literal["auto", "cpu", "gpu", "metal", "tpu"]
Arch = Annotated[str, tyro.conf.arg(metavar=_names(ARCHS))]
OptionalArch = Annotated[str | None, _optional(_names(ARCHS))]
RecipeName = Annotated[str, tyro.conf.arg(metavar=_names(RECIPES))]
OptionalRecipe = Annotated[str | None, _optional(_names(RECIPES))]
OptionalDataset = Annotated[str | None, _optional(_names(DATASETS))]
OptionalFolder = Annotated[Path | None, _optional("FOLDER")]
OptionalFile = Annotated[Path | None, _optional("FILE")]
OptionalInt = Annotated[int | None, _optional("INT")]
OptionalFloat = Annotated[float | None, _optional("FLOAT")]
RunFolders = Annotated[
    tyro.conf.Positional[tuple[Path, ...]],
    tyro.conf.arg(metavar="RUN [RUN ...]", help_behavior_hint="(required)"),
]
RunOrWeights = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN|WEIGHTS.npz")]


@dataclasses.dataclass(frozen=True)
class Command:
    """Options of every command."""

    device: Device = "auto"
    """Where to compute; auto prefers any accelerator."""
    json: bool = False
    """Print the results as one JSON object; everything else goes to standard error."""
    no_compile_cache: bool = False
    """Do not keep compiled programs for later runs, and use none that were kept."""
    debug: bool = False
    """Show the traceback of an error."""

    def run(self) -> None:
        """Does what the command is for.

        Raises:
            JaxmnistError: whatever the user can mend; it carries the exit code.
        """
        raise NotImplementedError

    def start(self) -> Any:
        """The device, after telling JAX where it is and where compiled programs are kept."""
        from jaxmnist.runtime.devices import select_device, use_compile_cache

        device = select_device(self.device)
        if not self.no_compile_cache:
            use_compile_cache()
        return device

    def console(self) -> Any:
        """Where messages go: not into the JSON."""
        from rich.console import Console

        return Console(stderr=self.json)

    def no_console(self) -> Any:
        """Where the messages of a process go whose messages another one shows."""
        from rich.console import Console

        # Not a terminal: a display that draws nothing would still catch what others print.
        return Console(quiet=True, force_terminal=False)


def load_or_fall_back(console: "Console", name: str | None, data_dir: Path | None) -> "Dataset":
    """The named dataset; without a name mnist, or where that cannot be had the digits, which a box announces."""
    from jaxmnist.data import DataUnavailableError, load_dataset
    from jaxmnist.report.terminal.training import print_warning_box

    try:
        return load_dataset(name or "mnist", data_dir)
    except DataUnavailableError as error:
        if name is not None:
            raise
        print_warning_box(
            console,
            "This is not MNIST. The run goes on with the digits embedded in scikit-learn: 1,797 handwritten "
            f"digits of 8x8 pixels, scaled to 28x28.\n\nThe reason: {error}",
        )
        return load_dataset("digits")
