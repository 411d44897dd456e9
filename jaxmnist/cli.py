"""The command line: one dataclass per command. `scripts/` and the `jaxmnist` entry point call `main`.

Only names are imported here; what a command needs loads when it runs, so that `--help` is quick.
"""

import dataclasses
import json
import logging
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from jaxmnist.data import DATASETS
from jaxmnist.errors import DataError, JaxmnistError, UsageError, unknown_name
from jaxmnist.models import ARCHS
from jaxmnist.recipes import RECIPES, Recipe, get_recipe

Arch = Annotated[str, tyro.conf.arg(metavar="{" + ",".join(ARCHS) + "}")]
RecipeName = Annotated[str, tyro.conf.arg(metavar="{" + ",".join(RECIPES) + "}")]
DatasetName = Annotated[str, tyro.conf.arg(metavar="{" + ",".join(DATASETS) + "}")]
Device = Literal["auto", "cpu", "gpu", "metal", "tpu"]
RunFolder = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
ImageFiles = Annotated[
    tyro.conf.Positional[tuple[Path, ...]],
    tyro.conf.arg(metavar="IMAGE [IMAGE ...]", help_behavior_hint="(required)"),
]


@dataclasses.dataclass(frozen=True)
class _Command:
    device: Device = "auto"
    """Where to compute; auto prefers any accelerator."""
    json: bool = False
    """Print the results as one JSON object; everything else goes to standard error."""
    compile_cache: bool = True
    """Keep compiled programs between runs."""
    debug: bool = False
    """Show the traceback of an error."""

    def start(self) -> Any:
        """The device, after telling JAX where it is and where compiled programs are kept."""
        from jaxmnist.parallel import select_device, use_compile_cache

        device = select_device(self.device)
        if self.compile_cache:
            use_compile_cache()
        return device

    def console(self) -> Any:
        """Where messages go: not into the JSON."""
        from rich.console import Console

        return Console(stderr=self.json)


@dataclasses.dataclass(frozen=True)
class Train(_Command):
    """Train a network and keep metrics, checkpoints and plots in a run folder."""

    arch: Arch = "third"
    """Network."""
    recipe: RecipeName | None = None
    """How to train; by default the network's own published recipe."""
    dataset: DatasetName | None = None
    """What to train on. Without this option mnist, or the embedded digits where mnist cannot be had."""
    data_dir: Path | None = None
    """Folder with the four IDX files (plain or .gz), or with a subfolder named after the dataset."""
    seed: int = 1
    """Seed of weights, order, augmentation and dropout."""
    epochs: int | None = None
    """Instead of the recipe's."""
    batch_size: int | None = None
    """Instead of the recipe's."""
    learning_rate: float | None = None
    """Instead of the recipe's."""
    select_on: Literal["val", "test"] = "val"
    """What drives the schedule and picks the best checkpoint: held-out training images, or the test images
    with all training images trained on (the published protocol)."""
    runs: Path = Path("runs")
    """Folder that the run folder is made in."""
    resume: Path | None = None
    """Run folder to go on with, under its own configuration."""

    def run(self) -> None:
        from jaxmnist import runs
        from jaxmnist.data import load_dataset
        from jaxmnist.fit import fit
        from jaxmnist.models import create_model
        from jaxmnist.models.structure import layers
        from jaxmnist.report import terminal
        from jaxmnist.report.plots import save_curves

        console = self.console()
        if self.resume is not None:
            self._refuse_configuration()
            run, config = self.resume, runs.read_config(self.resume)
            dataset = load_dataset(config.dataset, self.data_dir)
            device = self.start()
        else:
            recipe, arch = self._recipe(), self.arch
            dataset = self._load_or_fall_back(console)
            config = runs.RunConfig(
                arch, recipe, dataset.name, self.seed, self.select_on, dataset.fingerprint
            )
            device = self.start()
            run = runs.create_run(self.runs, config, runs.environment(device))
        terminal.print_model(console, config.arch, layers(create_model(config.arch)))
        terminal.print_setup(console, config, dataset, device, run)
        with terminal.TrainingDisplay(console, config.recipe.epochs) as display:
            results = fit(config, dataset, run, device, display)
        save_curves(run)
        if self.json:
            print(json.dumps(results | {"run": str(run)}))
        else:
            terminal.print_results(console, results, run)

    def _recipe(self) -> Recipe:
        return _select_recipe(
            self.arch,
            self.recipe,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
        )

    def _refuse_configuration(self) -> None:
        own = (
            "arch",
            "recipe",
            "dataset",
            "seed",
            "epochs",
            "batch_size",
            "learning_rate",
            "select_on",
            "runs",
        )
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        given = [name for name in own if getattr(self, name) != defaults[name]]
        if given:
            option = given[0].replace("_", "-")
            raise UsageError(
                f"--resume goes on under the configuration of {self.resume}; leave out --{option}, "
                "or start a new run with it."
            )

    def _load_or_fall_back(self, console: Any) -> Any:
        from jaxmnist.data import DataUnavailableError, load_dataset
        from jaxmnist.report.terminal import print_warning_box

        try:
            return load_dataset(self.dataset or "mnist", self.data_dir)
        except DataUnavailableError as error:
            if self.dataset is not None:
                raise
            print_warning_box(console, f"This is not MNIST. {error}\n\nGoing on with the embedded digits.")
            return load_dataset("digits")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluate(_Command):
    """Evaluate a trained network: accuracy, confusion matrix, worst mistakes."""

    run_folder: RunFolder
    """Folder that train made."""
    checkpoint: Literal["best", "latest"] = "best"
    """Which of the run's two checkpoints."""
    split: Literal["test", "val", "train"] = "test"
    """Which images; those of train are taken as they are, not augmented."""
    dataset: DatasetName | None = None
    """What to evaluate on, which may be other data than the run's; without this option only the run's own."""
    data_dir: Path | None = None
    """Folder with the four IDX files (plain or .gz), or with a subfolder named after the dataset."""
    out: Path | None = None
    """Folder for evaluation.json and the pictures in plots/; without this option the run folder."""

    def run(self) -> None:
        from jaxmnist import evaluate, runs
        from jaxmnist.checkpoints import restore_run
        from jaxmnist.data import load_dataset
        from jaxmnist.report.evaluation import print_evaluation
        from jaxmnist.report.mistakes import save_evaluation_pictures

        restored = restore_run(self.run_folder, self.checkpoint, self.start())
        dataset = load_dataset(self.dataset or restored.config.dataset, self.data_dir)
        if self.dataset is None:
            evaluate.require_data_of_run(restored.config, dataset, self.run_folder)
        figures = {"run": str(self.run_folder), "checkpoint": self.checkpoint}
        figures |= evaluate.evaluate_run(restored, dataset, self.split)
        out = self.out or self.run_folder
        try:
            images, _ = evaluate.images_of(dataset, self.split)
            files = [out / evaluate.EVALUATION, *save_evaluation_pictures(out, figures, images)]
            runs.write_json(files[0], figures)
        except OSError as error:
            message = f"{out} cannot be written to ({error.strerror}); name another folder with --out."
            raise UsageError(message) from error
        if self.json:
            print(json.dumps(figures))
        else:
            print_evaluation(self.console(), figures, files)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predict(_Command):
    """Classify image files with a trained network."""

    run_folder: RunFolder
    """Folder that train made."""
    images: ImageFiles
    """Image files of any size; 28x28 pixels are taken as they are, others are fitted in as MNIST's were."""
    checkpoint: Literal["best", "latest"] = "best"
    """Which of the run's two checkpoints."""
    ink: Literal["auto", "light", "dark"] = "auto"
    """Whether what is drawn is light or dark; auto takes the border of each image for its ground."""

    def run(self) -> None:
        from jaxmnist.checkpoints import restore_run
        from jaxmnist.predict import predict_files
        from jaxmnist.report.evaluation import print_predictions

        if not self.images:
            raise UsageError("there is nothing to predict; name image files after the run folder.")
        restored = restore_run(self.run_folder, self.checkpoint, self.start())
        predictions, errors = predict_files(restored, self.images, self.ink)
        for error in errors:
            print(f"error: {error}", file=sys.stderr)
        if self.json:
            result = {"run": str(self.run_folder), "checkpoint": self.checkpoint}
            result |= {"arch": restored.config.arch, "predictions": predictions}
            print(json.dumps(result | {"errors": list(map(str, errors))}))
        elif predictions:
            print_predictions(self.console(), predictions)
        if errors:
            raise DataError(f"{len(errors)} of {len(self.images)} images could not be read, see above.")


@dataclasses.dataclass(frozen=True)
class Benchmark(_Command):
    """Measure training steps: un-jitted, jitted, in chunks, and PyTorch's for comparison."""

    arch: Arch = "third"
    """Network."""
    recipe: RecipeName | None = None
    """What a step does; by default the network's own published recipe."""
    batch_size: int | None = None
    """Instead of the recipe's."""
    repeats: int = 7
    """Times that each variant is measured, in turn; the table gives medians and ranges."""
    steps: int = 100
    """Steps in a repeat; the un-jitted variant takes a twentieth of them."""
    torch: bool = False
    """Measure PyTorch's eager step, too, on the CPU; needs PyTorch."""
    out: Path | None = None
    """File that the results are written to as JSON."""
    compile_cache: tyro.conf.Suppress[bool] = False  # compile times are among the results

    def run(self) -> None:
        from rich.console import Console

        from jaxmnist import runs
        from jaxmnist.benchmark import benchmark
        from jaxmnist.report.benchmark import print_benchmark

        if self.out is not None and not self.out.parent.is_dir():
            raise UsageError(f"--out {self.out} cannot be written: make the folder {self.out.parent} first.")
        recipe = _select_recipe(self.arch, self.recipe, batch_size=self.batch_size)
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


COMMANDS = {"train": Train, "evaluate": Evaluate, "predict": Predict, "benchmark": Benchmark}


def main(command: str | None = None) -> None:
    """Runs a command with the process's arguments and ends the process with the command's exit code.

    Args:
        command: one of `COMMANDS`; without it the first argument names the command.
    """
    if command is None:
        kinds = tuple(
            Annotated[kind, tyro.conf.subcommand(name, prefix_name=False)] for name, kind in COMMANDS.items()
        )
        chosen = tyro.cli(_union(kinds), prog="jaxmnist", config=_STYLE)
    else:
        chosen = tyro.cli(COMMANDS[command], prog=f"{command}.py", config=_STYLE)
    # Absl's warnings of libraries would break into the progress bar.
    logging.getLogger("absl").setLevel(logging.ERROR)
    sys.exit(_exit_code(chosen))


def _select_recipe(arch: str, name: str | None, **given: Any) -> Recipe:
    """The named recipe, or the arch's own, with the options that were given instead of its values."""
    if arch not in ARCHS:
        raise unknown_name("arch", arch, ARCHS)
    recipe = get_recipe(name or arch)
    changes = {option: value for option, value in given.items() if value is not None}
    return dataclasses.replace(recipe, name=f"{recipe.name}-modified", **changes) if changes else recipe


_STYLE = (tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes)


def _exit_code(command: Any) -> int:
    try:
        command.run()
    except JaxmnistError as error:
        code, message = error.exit_code, str(error)
    except KeyboardInterrupt:
        code, message = 130, "interrupted."
    except Exception as error:
        code, message = 1, f"{type(error).__name__}: {error} (--debug shows where)"
    else:
        return 0
    if command.debug:
        traceback.print_exc()
    print(f"error: {message}", file=sys.stderr)
    return code


def _union(kinds: tuple[Any, ...]) -> Any:
    from typing import Union

    return Union[kinds]  # noqa: UP007 - the members are computed
