"""The list of faults: small changes of the package, each with the promise it breaks and the tests that must fail.

The files in `lists/` hold them in this form, a block each with an empty line between two:

```
## a training batch is normalised by its own variance
jaxmnist/ops/norm.py
- squares / values
+ squares / (values - 1)
> tests/ops/test_ops.py::test_batch_norm_and_its_gradients_are_those_of_the_images_that_count
```

The name says the promise. The text behind `- ` occurs exactly once in the file and is replaced by that behind `+ `;
several such lines are lines of one text, and without `+ ` the text is removed.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

LISTS = Path(__file__).with_name("lists")


class Fault(NamedTuple):
    """One change of the code."""

    name: str
    """The promise that it breaks."""
    file: str
    """File of the package, seen from the root of the repository."""
    old: str
    new: str
    tests: tuple[str, ...]
    """Test files or node ids, at least one of which must fail."""

    @property
    def room(self) -> str:
        """Package that the file is in; `training` and the like for modules at the root."""
        return Path(self.file).parts[1].removesuffix(".py")

    @property
    def digest(self) -> str:
        """Short digest of everything but the name: results are kept while it is the same."""
        return hashlib.sha256(repr(self[1:]).encode()).hexdigest()[:16]

    def applied(self, source: str) -> str | None:
        """Returns the source of the file with the fault in it; None if the text is not in it exactly once."""
        return source.replace(self.old, self.new) if source.count(self.old) == 1 else None


def read_faults(folder: Path = LISTS) -> list[Fault]:
    """Reads all faults, in the order of their files."""
    blocks = [
        block for file in sorted(folder.glob("*.txt")) for block in file.read_text().strip().split("\n\n")
    ]
    return [_parsed(block) for block in blocks]


def _parsed(block: str) -> Fault:
    title, file, *lines = block.splitlines()
    if not title.startswith("## ") or any(line[:2] not in ("- ", "+ ", "> ") for line in lines):
        raise ValueError(f"this is no fault:\n{block}")
    old, new, tests = ([line[2:] for line in lines if line[0] == sign] for sign in "-+>")
    return Fault(title[3:], file, "\n".join(old), "\n".join(new), tuple(tests))
