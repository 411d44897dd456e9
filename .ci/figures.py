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


class Figure(NamedTuple):
    """A piece of a document's text with the numbers in it."""

    document: str
    text: str
    """The text with a format field for each number; it stands in the document once."""
    values: Mapping[str, Any]

    def find(self, document: str) -> re.Match[str]:
        """Finds the text with any numbers in a document."""
        literal = map(re.escape, _FIELD.split(self.text))
        (match,) = re.finditer(_NUMBER.join(literal).replace(r"\ ", r"\s+"), document)
        return match

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
