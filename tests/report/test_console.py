"""The console: text from outside is text, and colours are the console's own."""

import io

from rich.table import Table

from jaxmnist.report.terminal import name_cell, print_facts, print_files, print_line, print_warning_box
from jaxmnist.report.terminal.console import SafeConsole
from tests.test_errors import EVIL, is_plain


def printed(function, **options):
    out = io.StringIO()
    function(SafeConsole(file=out, width=200, **options))
    return out.getvalue()


def test_lines_facts_files_and_boxes_hold_no_control_characters():
    from pathlib import Path

    for function in (
        lambda console: print_line(console, f"Run {EVIL}"),
        lambda console: print_facts(console, {"data": EVIL}),
        lambda console: print_files(console, [Path(EVIL)]),
    ):
        text = printed(function)
        assert text.count("\n") == 1
        assert is_plain(text.rstrip("\n"))
    box = printed(lambda console: print_warning_box(console, EVIL))
    assert all(is_plain(line) for line in box.splitlines())


def test_a_name_is_one_row_of_a_table_without_markup():
    table = Table("class", box=None, show_header=False)
    table.add_row(name_cell(f"[red]{EVIL}"))
    text = printed(lambda console: console.print(table))
    assert text.count("\n") == 1
    assert is_plain(text.rstrip("\n"))
    assert "[red]a\\x1b[2J\\nb" in text


def test_any_text_is_safe_even_if_nobody_has_thought_of_it():
    table = Table(f"head{EVIL}", title=f"title{EVIL}")
    table.add_row(f"cell{EVIL}")
    text = printed(lambda console: console.print(table))
    assert all(is_plain(line) for line in text.split("\n"))


def test_colours_are_still_shown():
    def show(console):
        console.print("[red]red[/red]")

    assert printed(show, force_terminal=True, color_system="standard") == "\x1b[31mred\x1b[0m\n"
