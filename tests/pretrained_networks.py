"""Packing of trained networks into the package: `python -m tests.pretrained_networks RUN [RUN ...]`.

Each run has the median seed of its network's study. Its weights are exported, verified against JAX, and written
to `jaxmnist/pretrained/` as NAME.safetensors with the model card NAME.md; `SHA256SUMS` then lists all of them.
"""

import hashlib
import json
import shutil
import sys
import tempfile
from pathlib import Path

from jaxmnist.inference.classifier import load
from jaxmnist.inference.export import export
from jaxmnist.inference.opening import dataset_of
from jaxmnist.pretrained import FOLDER
from jaxmnist.train.network import Network

SUMS = "SHA256SUMS"
STUDIES = Path("docs/results/studies")


def main() -> None:
    for run in map(Path, sys.argv[1:]):
        network = load(run).network
        with tempfile.TemporaryDirectory() as folder:
            ((made, *_), _) = export(network, dataset_of(network, run), ["safetensors"], Path(folder))
            shutil.copy(made.file, FOLDER / f"{network.arch}.safetensors")
            (card,) = Path(folder).glob("*.md")
            text = card.read_text().replace("\n## Training", f"\n{_of_study(network)}\n\n## Training", 1)
            (FOLDER / f"{network.arch}.md").write_text(text)
    files = sorted(FOLDER.glob("*.safetensors"))
    lines = (f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)
    (FOLDER / SUMS).write_text("".join(lines))


def _of_study(network: Network) -> str:
    if not (STUDIES / network.arch).is_dir():
        return "It is a single run: the network was not studied by this recipe."
    figures = json.loads((STUDIES / network.arch / "summary.json").read_text())["last_epoch"]
    return (
        f"Its seed was the median one of the {figures['count']} of a study, whose mean is {figures['mean']:.3f} % "
        f"(95 % interval {figures['low']:.3f} to {figures['high']:.3f} %). "
        "Trained anew for this file, it came out as above."
    )


if __name__ == "__main__":
    main()
