"""Texts from outside as Markdown that shows them and nothing else."""

import re

from jaxmnist.errors import escaped

# All that begins markup within a line of CommonMark, or a table, a formula or a link on GitHub.
_MARKUP = re.compile(r"[\\`*<>\[\]|~$&#]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.", re.IGNORECASE)


def to_markdown(text: str) -> str:
    r"""Escapes markup and control characters: `a*b` becomes `a\*b`, and the text is one line."""
    return _MARKUP.sub(r"\\\g<0>", escaped(text))
