"""Counts docstrings that open like a translation: `python .ci/docstring_openers.py FOLDER ...`; exit code 1 if any."""

import ast
import re
import sys
from pathlib import Path

OPENERS = re.compile(r"\s*(What|Which|Whether|How|Where|Who|Whose|When|That)\b")

total, found = 0, []
for path in sorted(path for folder in sys.argv[1:] for path in Path(folder).rglob("*.py")):
    for node in ast.walk(ast.parse(path.read_text())):
        # A string that stands by itself: the docstring of a module, class, function or field.
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            total += 1
            if OPENERS.match(node.value.value):
                found.append(f"{path}:{node.lineno}: {node.value.value.strip().splitlines()[0]}")
print(
    *found,
    f"docstrings that open with What/Which/Whether/How/Where/Who/That: {len(found)} of {total}",
    sep="\n",
)
sys.exit(bool(found))
