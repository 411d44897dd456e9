"""Markdown: what is quoted shows as it is, and begins no markup."""

import pytest
from markdown_it import MarkdownIt

from jaxmnist.inference.markdown import to_markdown

NAMES = [
    "plain name",
    "a*b*c **d** _e_ __f__ g_h",
    "`code` ~~gone~~",
    "<script>alert(1)</script> <b>",
    "[link](http://evil.example) ![picture](http://evil.example/x.png)",
    "http://evil.example www.evil.example",
    "&amp; &#60; $x$",
    "# heading",
    "a | b",
    "back\\slash \\* end\\",
]


def shown(source):
    """Text that a reader sees, and the kinds of tokens that it takes."""
    (inline,) = (
        token for token in MarkdownIt("commonmark").parse(f"Name: {source}") if token.type == "inline"
    )
    kinds = {child.type for child in inline.children or []} - {"text_special"}
    return "".join(child.content for child in inline.children or []), kinds


@pytest.mark.parametrize("name", NAMES)
def test_a_name_shows_as_it_is(name):
    assert shown(to_markdown(name)) == (f"Name: {name}", {"text"})


def test_a_name_is_one_line_and_one_cell():
    text = to_markdown("a\n\n# b | c\r\u202e")
    assert text == r"a\\n\\n\# b \| c\\r\\u202e"


def test_words_and_figures_are_left_alone():
    for text in ("fashion_mnist", "95 % interval 97.1 to 98.2 %", "the recipe 'third' with seed 1", "1e-5"):
        assert to_markdown(text) == text
