"""HTML by which results show themselves as the value of a notebook's cell."""

import html
from collections.abc import Iterable, Mapping, Sequence


def facts_html(title: str, facts: Mapping[str, object]) -> str:
    """Returns a table of names and values under a title; all text is escaped."""
    return table_html(title, ("", ""), facts.items())


def table_html(title: str, header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Returns a table under a title; all text is escaped. The first cell of a row is its name."""
    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in header)
    lines = [
        f"<tr><th>{html.escape(str(name))}</th>{''.join(f'<td>{html.escape(str(cell))}</td>' for cell in cells)}</tr>"
        for name, *cells in rows
    ]
    return f"<p>{html.escape(title)}</p><table><tr>{head}</tr>{''.join(lines)}</table>"
