"""Code blocks of README.md, which tests run exactly as printed."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def blocks(heading: str, language: str) -> list[str]:
    """Returns the code blocks of a language below a heading, in their order."""
    section = re.split(r"^## ", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
    (text,) = (part for part in section if part.startswith(f"{heading}\n"))
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)
