"""The `evaluate` command."""

import dataclasses
import json
from typing import Literal

from jaxmnist.commands.options import Command, OptionalDataset, OptionalFolder, RunFolder
from jaxmnist.errors import UsageError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluate(Command):
    """Evaluate a trained network: accuracy, confusion matrix, worst mistakes."""

    run_folder: RunFolder
    """Folder that train made."""
    checkpoint: Literal["best", "latest"] = "best"
    """Which of the run's two checkpoints."""
    split: Literal["test", "val", "train"] = "test"
    """Which images; those of train are taken as they are, not augmented."""
    dataset: OptionalDataset = None
    """What to evaluate on, which may be other data than the run's; without this option only the run's own."""
    data_dir: OptionalFolder = None
    """Folder with the four IDX files (plain or .gz), or with a subfolder named after the dataset."""
    out: OptionalFolder = None
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
            runs.require_data_of_run(restored.config, dataset, self.run_folder)
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
