"""The `budget` command."""

import dataclasses

import tyro

from jaxmnist.cli.options import Command, Device, OptionalFile, OptionalFloat, OptionalFolder, OptionalInt
from jaxmnist.errors import UsageError, writing
from jaxmnist.runtime.json_text import json_text


@dataclasses.dataclass(frozen=True)
class Budget(Command):
    """Name the best network and recipe for a budget, with the accuracy to expect.

    Without a budget it lists all that were studied.
    """

    params: OptionalInt = None
    """Most parameters."""
    size_kb: OptionalFloat = None
    """Largest size of the parameters as float32, in kilobytes of 1,024 bytes."""
    madds: OptionalInt = None
    """Most multiply-adds to classify an image, in all its views."""
    seconds: OptionalFloat = None
    """Longest training, on the machine of docs/accuracy.md."""
    studies: OptionalFolder = None
    """Choose from the studies in this folder, on MNIST with --select-on last, instead of the project's own."""
    timing: OptionalFile = None
    """The comparison.json of runs that had a machine to themselves; their seconds replace those of --studies."""
    table: OptionalFile = None
    """JSON file to write: everything to choose from."""
    picture: OptionalFile = None
    """PNG file to write: accuracy against parameters and against training time."""
    # Nothing is computed on a device.
    device: tyro.conf.Suppress[Device] = "auto"
    no_compile_cache: tyro.conf.Suppress[bool] = True

    def run(self) -> None:
        """Prints the choice, or all of them."""
        from jaxmnist.experiments.frontier import best_within, choices_of, read_frontier, write_frontier
        from jaxmnist.report.terminal import print_files
        from jaxmnist.report.terminal.budget import print_choice, print_choices

        if self.timing is not None and self.studies is None:
            raise UsageError("--timing needs the studies that it completes; add --studies FOLDER.")
        choices = read_frontier() if self.studies is None else choices_of(self.studies, self.timing)
        budgets = {
            "params": self.params,
            "size-kb": self.size_kb,
            "madds": self.madds,
            "seconds": self.seconds,
        }
        limits = {name: most for name, most in budgets.items() if most is not None}
        best = best_within(choices, limits) if limits else None
        if self.table is not None:
            with writing(f"--table {self.table}", "name another file"):
                write_frontier(self.table, choices)
        if self.picture is not None:
            from jaxmnist.report.plots.frontier import save_frontier

            with writing(f"--picture {self.picture}", "name another file"):
                save_frontier(self.picture, choices)
        if self.json:
            found = [
                dataclasses.asdict(choice) | {"command": choice.command}
                for choice in ([best] if best else choices)
            ]
            print(json_text(found[0] if best else {"choices": found}))
        elif best is not None:
            print_choice(self.console(), best)
        else:
            print_choices(self.console(), choices)
        written = [file for file in (self.table, self.picture) if file is not None]
        print_files(self.console(), written)
