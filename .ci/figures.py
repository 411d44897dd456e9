"""Figures in the documents, from the files that they follow from: `python .ci/figures.py [--write]`.

Each entry is a document, a piece of its text with fields in place of the numbers, and the values of the fields, read
from a file in `docs/results`. Without `--write` a piece that differs is named and the exit code is 1.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"

_FIELD = re.compile(r"\{[^}]*\}")
_NUMBER = r"[-+]?[\d,]*\.?\d+"


FRONTIER = ("flagship", "fast", "flagship_small", "dash", "sprint", "flagship_2500", "flagship_1000")
"""Studies in the table of the frontier."""

PUBLISHED_ARCHS = (
    *("first", "second", "third", "dilated", "evolution_v1", "evolution_v2", "evolution_v3"),
    *("challenge_ll", "challenge_gap", "challenge_final", "step1", "step3"),
)
"""Networks of the published table."""


class Figure(NamedTuple):
    """A piece of a document's text with the numbers in it."""

    document: str
    text: str
    """The text with a format field for each number; it stands in the document once."""
    values: Mapping[str, Any]

    def find(self, document: str) -> re.Match[str]:
        """Finds the text with any numbers in a document."""
        literal = map(re.escape, _FIELD.split(self.text))
        found = list(re.finditer(_NUMBER.join(literal).replace(r"\ ", r"\s+"), document))
        if len(found) != 1:
            sys.exit(f"{self.document} has {len(found)} times: {self.text}")
        return found[0]

    def written(self) -> str:
        """Returns the text with the numbers of the file."""
        return self.text.format(**self.values)


def study(name: str) -> dict[str, Any]:
    """Returns the figures of a study: of its last epochs, in percent, and of its network."""
    summary = json.loads((RESULTS / "studies" / name / "summary.json").read_text())
    return summary | summary["last_epoch"]


def benchmark(name: str) -> dict[str, Any]:
    """Returns the results of a benchmark."""
    return json.loads((RESULTS / "benchmark" / f"{name}.json").read_text())


def figures() -> Iterator[Figure]:
    """Yields all figures."""
    yield from _readme()
    yield from _performance()
    yield from _accuracy()


def _readme() -> Iterator[Figure]:
    interval = "{mean:.3f} ({low:.3f} to {high:.3f})"
    third = benchmark("third")["train"]["chunked"]
    yield Figure(
        "README.md",
        "**{mean:.3f} %** ({low:.3f} to {high:.3f}) with {parameters:,} parameters",
        study("flagship"),
    )
    yield Figure("README.md", "**{median:.1f} times** PyTorch ({min:.1f} to {max:.1f})", third["over_torch"])
    for name in ("flagship", "flagship_small"):
        yield Figure("README.md", f"`{name}` | {{parameters:,}} | `flagship` | {interval}", study(name))
    yield Figure("README.md", f"`flagship` | {{parameters:,}} | `fast` | {interval}", study("fast"))


def _performance() -> Iterator[Figure]:
    document, peers = "docs/performance.md", ("channels_last", "compiled", "processes")
    variants = ("chunked", "jitted", "torch", *(f"torch_{peer}" for peer in peers), "pipeline")
    for name in ("first", "second", "third", "dilated"):
        found = benchmark(name)
        train, evaluate, epoch = found["train"], found["evaluate"]["jax"], found["epoch"]
        times = {variant: train[variant]["milliseconds"]["median"] for variant in variants}
        cells = " | ".join(f"{{{variant}:.1f}}" for variant in variants)
        text = f"| {name}, {{batch}} | {cells} |"
        yield Figure(document, text, {"batch": found["recipe"]["batch_size"]} | times)
        ratios = [
            train["chunked"]["over_torch"],
            train["chunked"]["over_best_torch"],
            epoch["over_pipeline"],
            evaluate["over_torch"],
        ]
        cells = [f"{{{i}_median:.2f}} ({{{i}_min:.2f}} to {{{i}_max:.2f}})" for i in "abcd"]
        values = {f"{i}_{key}": ratio[key] for i, ratio in zip("abcd", ratios, strict=True) for key in ratio}
        text = f"| {name} | **{cells[0].replace(' ', '** ', 1)} | {' | '.join(cells[1:])} |"
        yield Figure(document, text, values)
    earlier, names = (
        benchmark("earlier/third")["train"],
        {
            "un-jitted step": "unjitted",
            "jitted step, a call per step": "jitted",
            "chunked, as `train` runs": "chunked",
            "four seeds in one program, side by side": "at_once",
            "four seeds in one program, one after the other": "in_a_row",
            "PyTorch 2.13, eager, data in memory, no augmentation": "torch",
            "PyTorch 2.13, eager, the sources' pipeline: torchvision in a DataLoader": "pipeline",
        },
    )
    for label, variant in names.items():
        pace = earlier[variant]["images_per_second"]
        values = pace | {"ms": 64_000 / pace["median"]}  # of a step of 64 images
        yield Figure(
            document, f"| {label} | {{median:,.0f}} ({{min:,.0f}}-{{max:,.0f}}) | {{ms:.1f}} |", values
        )


def _accuracy() -> Iterator[Figure]:
    document = "docs/accuracy.md"
    mean, range_ = "**{mean:.3f}** | {low:.3f} to {high:.3f}", "{minimum:.2f} to {maximum:.2f}"

    def start(found: Mapping[str, Any]) -> str:
        return (
            f"| {found['arch']} | {{parameters:,}} | {found['recipe']} | {{epochs}} | {{count}} | {mean} | "
        )

    for name in ("flagship", "fast", "third", "flagship_small", "second"):
        found = study(name)
        settled = {"settled": round(found["share_settled"] * found["count"])}
        text = f"{start(found)}{{standard_deviation:.3f}} | {range_} | {{settled}} of {{count}} |"
        yield Figure(document, text, found | settled)
    for name in FRONTIER:
        found = study(name)
        yield Figure(document, f"{start(found)}{range_} |", found)
    for name in ("challenge_gap", "challenge_final", "step3"):
        yield Figure(document, f"| {name} | {{parameters:,}} | {{count}} | {mean} | {range_} |", study(name))
    for name in PUBLISHED_ARCHS:
        found = json.loads((RESULTS / name / "results.json").read_text())
        text = f"| {name} | {{parameters:,}} | **{{last_five_mean_test_accuracy:.2f}}** |"
        yield Figure(document, text, found)


def differences() -> Iterator[tuple[Figure, str]]:
    """Yields the figures whose text in the document is not that of the file, with the text there."""
    for figure in figures():
        found = figure.find((ROOT / figure.document).read_text())[0]
        if " ".join(found.split()) != figure.written():
            yield figure, found


def main() -> None:
    """Compares every figure with its file, and with `--write` corrects the documents."""
    different = list(differences())
    for figure, found in different:
        print(f"{figure.document}: {' '.join(found.split())!r} is now {figure.written()!r}")
        if "--write" in sys.argv:
            document = ROOT / figure.document
            document.write_text(document.read_text().replace(found, figure.written()))
    sys.exit(bool(different) and "--write" not in sys.argv)


if __name__ == "__main__":
    main()
