"""The `benchmark` command."""

import dataclasses
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from jaxmnist.cli.options import Command, OptionalFile, OptionalRecipe
from jaxmnist.errors import UsageError
from jaxmnist.models import ARCHS

if TYPE_CHECKING:
    from rich.console import Console

    from jaxmnist.config import Recipe

_ArchOrAll = Annotated[str, tyro.conf.arg(metavar="{" + ",".join((*ARCHS, "all")) + "}")]


@dataclasses.dataclass(frozen=True)
class Benchmark(Command):
    """Measure training, evaluation and prediction, and PyTorch's for comparison."""

    arch: _ArchOrAll = "third"
    """Network, or all of them one after the other."""
    recipe: OptionalRecipe = None
    """What a step does; by default the network's own."""
    batch_size: tuple[int, ...] = ()
    """Instead of the recipe's; several are measured one after the other."""
    tasks: tuple[Literal["start", "train", "evaluate", "predict"], ...] = ("train", "evaluate", "predict")
    """What to measure: the start of `train` with the memory that an epoch takes, training steps, the evaluation of
    10,000 images, the prediction of one."""
    repeats: int = 7
    """Times that each variant is measured, in turn; the table gives medians and ranges."""
    steps: int = 100
    """Training steps in a repeat; the un-jitted variant takes a twentieth of them."""
    no_unjitted: bool = False
    """Leave out the un-jitted step, whose primitives take half a minute to compile; so it is where several
    networks or batch sizes are measured."""
    seeds: int = 0
    """Train so many seeds in one program, too, side by side and one after the other."""
    torch: bool = False
    """Measure PyTorch, too, eager, on the CPU, with data in memory and with the sources' pipeline, image by image
    in a DataLoader; needs PyTorch (and takes torchvision where it is), and knows first, second, third, dilated."""
    growth: bool = False
    """Measure instead how the time of an epoch grows with images, batch size, parameters, seeds and devices
    (on a CPU 8 simulated ones)."""
    profile: bool = False
    """Show instead where the time of a training step goes, by kind of operation and by layer."""
    out: OptionalFile = None
    """File that the results are written to as JSON, with a picture of the same name beside it."""
    no_compile_cache: tyro.conf.Suppress[bool] = True  # compile times are among the results

    def run(self) -> None:
        if self.out is not None and not self.out.parent.is_dir():
            raise UsageError(f"--out {self.out} cannot be written: make the folder {self.out.parent} first.")
        if self.growth and self.profile:
            raise UsageError("--growth and --profile measure different things; give one of them.")
        if self.growth:
            self._measure_growth()
        elif self.profile:
            self._profile()
        else:
            self._measure_cases()

    def _measure_cases(self) -> None:
        from jaxmnist.diagnostics.benchmark import benchmark
        from jaxmnist.report.plots.benchmark import save_benchmark_picture
        from jaxmnist.report.terminal.benchmark import print_benchmark, print_overview

        cases = self._cases()
        progress = self._progress()
        device = self.start()
        results: list[dict[str, Any]] = []
        everything: dict[str, Any] = {}
        for arch, recipe in cases:
            prefix = f"{arch}, batch {recipe.batch_size}: " if len(cases) > 1 else ""
            result = benchmark(
                arch,
                recipe,
                device,
                tasks=self.tasks,
                repeats=self.repeats,
                steps=self.steps,
                unjitted=not self.no_unjitted and len(cases) == 1,
                seeds=self.seeds,
                with_torch=self.torch,
                report=lambda line, prefix=prefix: progress.print(prefix + line),
            )
            results.append(result)
            everything = {"results": results} if len(cases) > 1 else result
            # After every case, so that none is lost.
            self._write(everything, partial(save_benchmark_picture, results=results))
        if self.json:
            print(json.dumps(everything))
        elif len(cases) > 1:
            print_overview(self.console(), results)
        else:
            print_benchmark(self.console(), results[0])

    def _measure_growth(self) -> None:
        import jax

        from jaxmnist.diagnostics.benchmark.growth import growth
        from jaxmnist.report.plots.benchmark import save_growth_picture
        from jaxmnist.report.terminal.benchmark import print_growth
        from jaxmnist.runtime.devices import simulate_cpu_devices

        if len(self.batch_size) > 1 or self.arch == "all":
            raise UsageError("--growth starts from one network and one --batch-size; name one of each.")
        simulate_cpu_devices(8)
        device = self.start()
        others = [other for other in jax.devices(device.platform) if other != device]
        [(arch, recipe)] = self._cases()
        report = self._progress().print
        result = growth(arch, recipe, [device, *others], repeats=self.repeats, report=report)
        self._write(result, partial(save_growth_picture, result=result))
        if self.json:
            print(json.dumps(result))
        else:
            print_growth(self.console(), result)

    def _profile(self) -> None:
        from jaxmnist.diagnostics.benchmark.profile import profile
        from jaxmnist.report.terminal.benchmark import print_profile

        results = [profile(arch, recipe, self.start()) for arch, recipe in self._cases()]
        everything = {"results": results} if len(results) > 1 else results[0]
        self._write(everything)
        if self.json:
            print(json.dumps(everything))
        else:
            for result in results:
                print_profile(self.console(), result)

    def _progress(self) -> "Console":
        from rich.console import Console

        return Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

    def _write(self, result: dict[str, Any], save_picture: Callable[[Path], Any] | None = None) -> None:
        from jaxmnist.runs.folder import write_json

        if self.out is None:
            return
        try:
            write_json(self.out, result)
            if save_picture is not None:
                save_picture(self.out.with_suffix(".png"))
        except OSError as error:
            message = f"--out {self.out} cannot be written ({error.strerror}); name another file."
            raise UsageError(message) from error

    def _cases(self) -> "list[tuple[str, Recipe]]":
        from jaxmnist.config.run import merge_options, run_config
        from jaxmnist.diagnostics.benchmark.torch_process import TORCH_ARCHS

        everything = TORCH_ARCHS if self.torch else ARCHS
        archs = everything if self.arch == "all" else (self.arch,)
        return [
            (arch, run_config(merge_options({}, {"arch": arch}, self.recipe, {"batch_size": size})).recipe)
            for arch in archs
            for size in self.batch_size or (None,)
        ]
