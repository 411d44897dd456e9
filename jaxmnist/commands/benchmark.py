"""The `benchmark` command."""

import dataclasses
import json

import tyro

from jaxmnist.commands.options import Arch, Command, OptionalFile, OptionalInt, OptionalRecipe, merge_options
from jaxmnist.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Benchmark(Command):
    """Measure training steps: un-jitted, jitted, in chunks, and PyTorch's for comparison."""

    arch: Arch = "third"
    """Network."""
    recipe: OptionalRecipe = None
    """What a step does; by default the network's own published recipe."""
    batch_size: OptionalInt = None
    """Instead of the recipe's."""
    repeats: int = 7
    """Times that each variant is measured, in turn; the table gives medians and ranges."""
    steps: int = 100
    """Steps in a repeat; the un-jitted variant takes a twentieth of them."""
    torch: bool = False
    """Measure PyTorch's eager step, too, on the CPU; needs PyTorch."""
    out: OptionalFile = None
    """File that the results are written to as JSON."""
    no_compile_cache: tyro.conf.Suppress[bool] = True  # compile times are among the results

    def run(self) -> None:
        from rich.console import Console

        from jaxmnist import runs
        from jaxmnist.benchmark import benchmark
        from jaxmnist.config import run_config
        from jaxmnist.report.benchmark import print_benchmark

        if self.out is not None and not self.out.parent.is_dir():
            raise UsageError(f"--out {self.out} cannot be written: make the folder {self.out.parent} first.")
        recipe = run_config(
            merge_options({}, {"arch": self.arch}, self.recipe, {"batch_size": self.batch_size})
        ).recipe
        progress = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        result = benchmark(
            self.arch,
            recipe,
            self.start(),
            repeats=self.repeats,
            steps=self.steps,
            with_torch=self.torch,
            report=progress.print,
        )
        if self.json:
            print(json.dumps(result))
        else:
            print_benchmark(self.console(), result)
        if self.out is not None:
            try:
                runs.write_json(self.out, result)
            except OSError as error:
                message = f"--out {self.out} cannot be written ({error.strerror}); name another file."
                raise UsageError(message) from error
