"""HTML from plain values: elements that escape what they hold, pictures inside the page, and the page around it all."""

import base64
import html
import importlib.resources
import io
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

_VOID = ("img", "meta", "link", "br")
# Nothing is loaded, from wherever: pictures lie in the page, and it has no script.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


class Html(str):
    """Text that is markup; any other text is escaped where it becomes part of some."""


Child = str | Iterable[str]


class Section(NamedTuple):
    """A part of a page, which its table of contents leads to."""

    anchor: str
    title: str
    content: Html


def element(name: str, /, *children: Child, **attributes: str | int | float | None) -> Html:
    """An element. Attributes that are None are left out; `class_` and `aria_label` are `class` and `aria-label`."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    start = f"<{name}{given}>"
    return Html(start if name in _VOID else f"{start}{joined(*children)}</{name}>")


def joined(*children: Child) -> Html:
    """Markup and texts one after the other."""
    parts = [part for child in children for part in ([child] if isinstance(child, str) else child)]
    return Html("".join(part if isinstance(part, Html) else _escaped(part) for part in parts))


def table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    caption: str,
    seen: bool = False,
    class_: str | None = None,
    row_classes: Sequence[str | None] = (),
) -> Html:
    """A table that scrolls inside itself where it is wider than the page. The first cell of a row is its heading.

    A caption that is not to be `seen` is there for those who hear the page.
    """
    head = element("tr", (element("th", heading, scope="col") for heading in headings))
    body = [
        element(
            "tr",
            element("th", cells[0], scope="row"),
            (element("td", cell) for cell in cells[1:]),
            class_=row_classes[number] if row_classes else None,
        )
        for number, cells in enumerate(rows)
    ]
    content = (table_caption(caption, seen), element("thead", head), element("tbody", body))
    return scrolling(element("table", *content, class_=class_), caption)


def table_caption(text: str, seen: bool) -> Html:
    """The caption of a table; it stays in sight when the table scrolls."""
    return element("caption", element("span", text), class_=None if seen else "visually-hidden")


def _escaped(text: str) -> str:
    # A number stays on the line of its percent sign.
    return html.escape(text).replace(" %", "\N{NO-BREAK SPACE}%")


def scrolling(content: Html, label: str) -> Html:
    """What may be wider than the page; with the keyboard it can be reached and scrolled."""
    return element("div", content, class_="scroll", tabindex=0, role="region", aria_label=label)


def picture(pixels: UInt8[np.ndarray, "..."], alt: str, class_: str = "pixels") -> Html:
    """A grey image, `[height, width]`, or `[height, width, 2]` with its opacity, in the page itself."""
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(out, "png", optimize=True)
    source = f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
    return element("img", src=source, alt=alt, width=pixels.shape[1], height=pixels.shape[0], class_=class_)


def page(overline: str, title: str, lead: str, head: Child, sections: Sequence[Section], footer: str) -> Html:
    """A whole page: its style is in it, and it asks for nothing else.

    Args:
        overline: what kind of page it is.
        title: its heading.
        lead: what it says, in a sentence or two.
        head: what else comes before the contents.
        sections: its parts.
        footer: where it comes from.
    """
    style = (importlib.resources.files(__package__ or "") / "page.css").read_text("utf-8")
    contents = (element("li", element("a", part.title, href=f"#{part.anchor}")) for part in sections)
    parts = (
        element(
            "section",
            element("h2", part.title, id=f"{part.anchor}-title"),
            part.content,
            id=part.anchor,
            aria_labelledby=f"{part.anchor}-title",
        )
        for part in sections
    )
    header = element(
        "header",
        element("p", overline, class_="overline"),
        element("h1", title),
        element("p", lead, class_="lead"),
        head,
    )
    meta = (
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{html.escape(_POLICY)}">'),
        element("title", f"{title} - {overline}"),
        element("link", rel="icon", href="data:,"),
        element("style", Html(style)),
    )
    body = (
        header,
        element("nav", element("ul", contents), aria_label="Contents"),
        element("main", parts),
        element("footer", element("p", footer)),
    )
    document = element("html", element("head", meta), element("body", *body), lang="en")
    return Html(f"<!doctype html>\n{document}\n")
