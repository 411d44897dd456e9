"""The `evaluate` command."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jaxmnist.cli.network_options import DatasetCommand
from jaxmnist.cli.options import OptionalFolder
from jaxmnist.data.dataset import dataset_word
from jaxmnist.errors import UsageError, writing
from jaxmnist.pretrained import is_pretrained
from jaxmnist.runtime.json_text import json_text

if TYPE_CHECKING:
    from jaxmnist.data import Dataset
    from jaxmnist.data.splits import Split
    from jaxmnist.train.network import Network


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluate(DatasetCommand):
    """Evaluate a trained network: accuracy, confusion matrix, mistakes.

    Names of files end in the split, as in evaluation-train.json, except for test.
    """

    split: Literal["test", "val", "train", "all"] = "test"
    """Split to evaluate on; all puts every split side by side. A weights file has no val."""
    augment: bool = False
    """Evaluate the train images with the recipe's augmentation instead of as they are."""
    seed: int = 0
    """Seed of --augment."""
    shifts: int = 0
    """Predict from the mean over all shifts by up to this many pixels (1 gives 9 of them). This is another figure than
    the network's accuracy; its files end in -shifts1."""
    out: OptionalFolder = None
    """Folder of evaluation.json and plots/; by default the run folder, for weights NAME.npz evaluation/NAME. Other data
    and another checkpoint have folders of their own, as evaluation-digits in the run folder."""

    def run(self) -> None:
        """Evaluates the splits, writes the files and prints the figures."""
        from jaxmnist.inference import evaluate
        from jaxmnist.report.plots.mistakes import save_evaluation_plots
        from jaxmnist.report.terminal.evaluation import describe_network, file_suffix, print_evaluations
        from jaxmnist.runs.folder import write_json

        if self.augment and self.split not in ("train", "all"):
            raise UsageError(f"--augment changes train images, not those of {self.split}; add --split train.")
        if not 0 <= self.shifts <= 4:
            raise UsageError(f"--shifts is {self.shifts}; choose a number of pixels from 0 to 4.")
        network = self.open_network()
        dataset = self.load_dataset(network, or_digits=is_pretrained(self.network))
        name = describe_network(network, self.network, self.checkpoint)
        out = self.out or self._default_folder(network, dataset)
        splits: list[Split] = evaluate.splits_of(network, dataset) if self.split == "all" else [self.split]
        evaluations, results, files = [], {}, []
        for split in splits:
            images, seed = evaluate.images_of(dataset, split), None
            if self.augment and split == "train":
                images, seed = evaluate.augmented(images, network.recipe.augmentation, self.seed), self.seed
            evaluation = evaluate.evaluate_split(
                network, dataset, split, images, shifts=self.shifts, augmentation_seed=seed
            )
            evaluations.append(evaluation)
            results[split] = self.origin() | evaluation.as_json()
            files.append(out / f"evaluation{file_suffix(evaluation)}.json")
            with writing(out, "name another folder with --out"):
                pictures = save_evaluation_plots(out, evaluation, name, images)
                write_json(files[-1], results[split])
            files += pictures
        if self.json:
            print(json_text({"splits": results} if self.split == "all" else results[self.split]))
        else:
            print_evaluations(self.console(), name, evaluations, files)

    def _default_folder(self, network: "Network", dataset: "Dataset") -> Path:
        config = network.config
        if config is None:
            is_own = dataset_word(dataset.name) == dataset_word(network.data_info.dataset)
        else:
            is_own = dataset.fingerprint == config.data_fingerprint
        parts = [
            "" if self.checkpoint == "best" else self.checkpoint,
            "" if is_own else dataset_word(dataset.name),
        ]
        suffix = "".join(f"-{part}" for part in parts if part)
        if self.is_weights:  # not beside it: its folder belongs to others, and may be read-only
            return Path("evaluation", self.network.stem + suffix)
        return self.network / f"evaluation{suffix}" if suffix else self.network
