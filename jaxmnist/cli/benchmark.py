"""The `benchmark` command."""

import dataclasses
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from jaxmnist.cli.options import Command, OptionalFile, OptionalRecipe
from jaxmnist.errors import UsageError, one_line, writing
from jaxmnist.models import ARCHS
from jaxmnist.runtime.json_text import json_text

if TYPE_CHECKING:
    from rich.console import Console

    from jaxmnist.config import Recipe

_ArchOrAll = Annotated[str, tyro.conf.arg(metavar="{" + ",".join((*ARCHS, "FILE.py:CLASS", "all")) + "}")]


@dataclasses.dataclass(frozen=True)
class Benchmark(Command):
    """Measure training, evaluation and prediction, also in comparison with PyTorch."""

    arch: _ArchOrAll = "third"
    """Network; all measures one after the other."""
    recipe: OptionalRecipe = None
    """Recipe of a training step; by default the network's own."""
    batch_size: tuple[int, ...] = ()
    """Replaces the recipe's; several are measured one after the other."""
    tasks: tuple[Literal["start", "train", "evaluate", "predict"], ...] = ("train", "evaluate", "predict")
    """Tasks to measure: start is the start of `train`, with the memory of an epoch; train takes training steps;
    evaluate evaluates 10,000 images; predict classifies one."""
    repeats: int = 7
    """Measurements of each variant, taken in turn; the table gives medians and ranges."""
    steps: int = 100
    """Training steps in a repeat; the un-jitted variant takes a twentieth of them."""
    no_unjitted: bool = False
    """Leave out the un-jitted step, whose primitives take half a minute to compile. Implied by several networks or
    batch sizes."""
    seeds: int = 0
    """Also train this many seeds in one program, side by side and one after the other."""
    torch: bool = False
    """Also measure PyTorch, eager, on the CPU, with data in memory and with the sources' pipeline, image by image in
    a DataLoader (needs torchvision as well). Knows first, second, third and dilated."""
    growth: bool = False
    """Instead measure the growth of an epoch's time with images, batch size, parameters, seeds and devices (on a CPU
    8 simulated ones)."""
    profile: bool = False
    """Instead profile a training step by kind of operation and by layer."""
    out: OptionalFile = None
    """File for the results as JSON; a picture goes to the same name with .png."""
    no_compile_cache: tyro.conf.Suppress[bool] = True  # compile times are among the results

    def run(self) -> None:
        """Runs the command."""
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
        from jaxmnist.diagnostics.benchmark.measure import benchmark
        from jaxmnist.report.plots.benchmark import save_benchmark_picture
        from jaxmnist.report.terminal.benchmark import print_benchmark, print_overview

        cases = self._cases()
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
                report=lambda line, prefix=prefix: _report(prefix + line),
            )
            results.append(result)
            # After every case, so that none is lost.
            everything = {"results": results} if len(cases) > 1 else result
            self._write(everything, partial(save_benchmark_picture, results=results))
        if len(cases) > 1:
            self._tell(everything, partial(print_overview, results=results))
        else:
            self._tell(everything, partial(print_benchmark, result=results[0]))

    def _measure_growth(self) -> None:
        import jax

        from jaxmnist.diagnostics.benchmark.growth import growth
        from jaxmnist.report.plots.benchmark import save_growth_picture
        from jaxmnist.report.terminal.benchmark import print_growth
        from jaxmnist.runtime.devices import set_cpu_devices

        if len(self.batch_size) > 1 or self.arch == "all":
            raise UsageError("--growth starts from one network and one --batch-size; name one of each.")
        set_cpu_devices(8)
        device = self.start()
        devices = [device, *(other for other in jax.devices(device.platform) if other != device)]
        [(arch, recipe)] = self._cases()
        result = growth(arch, recipe, devices, repeats=self.repeats, report=_report)
        self._write(result, partial(save_growth_picture, result=result))
        self._tell(result, partial(print_growth, result=result))

    def _profile(self) -> None:
        from jaxmnist.diagnostics.benchmark.profile import profile
        from jaxmnist.report.terminal.benchmark import print_profiles

        results = [profile(arch, recipe, self.start()) for arch, recipe in self._cases()]
        everything = {"results": results} if len(results) > 1 else results[0]
        self._write(everything)
        self._tell(everything, partial(print_profiles, results=results))

    def _write(
        self, result: dict[str, Any], save_picture: Callable[[Path], object] = lambda path: None
    ) -> None:
        from jaxmnist.runs.folder import write_json

        if self.out is None:
            return
        with writing(f"--out {self.out}", "name another file"):
            write_json(self.out, result)
            save_picture(self.out.with_suffix(".png"))

    def _tell(self, result: dict[str, Any], show: "Callable[[Console], None]") -> None:
        if self.json:
            print(json_text(result))
        else:
            show(self.console())

    def _cases(self) -> "list[tuple[str, Recipe]]":
        from jaxmnist.config.run import merge_options, run_config
        from jaxmnist.diagnostics.benchmark.torch_process import TORCH_ARCHS

        every = TORCH_ARCHS if self.torch else ARCHS
        return [
            (arch, run_config(merge_options({}, {"arch": arch}, self.recipe, {"batch_size": size})).recipe)
            for arch in (every if self.arch == "all" else (self.arch,))
            for size in self.batch_size or (None,)
        ]


def _report(line: str) -> None:
    print(one_line(line), file=sys.stderr, flush=True)
