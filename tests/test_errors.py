"""Messages: one line of at most 1,000 characters whatever is quoted, with advice that fits the cause."""

import errno
import unicodedata
import warnings
from pathlib import Path

import pytest

from jaxmnist.errors import (
    MAX_MESSAGE,
    CheckpointError,
    InterruptedRunError,
    JaxmnistError,
    JaxmnistWarning,
    UsageError,
    escaped,
    one_line,
    unknown_name,
    writing,
)

EVIL = "a\x1b[2J\nb\r\x07\x9b31m\u202egnp.exe\u2066\u200b\u2028c\x7f\ud800"


def is_plain(text):
    return all(unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in text)


def test_what_a_terminal_would_obey_is_shown_escaped():
    assert is_plain(escaped(EVIL))
    assert escaped("\x1b[31m\n\u202e") == r"\x1b[31m\n\u202e"
    assert escaped("a\nb\t", but="\n") == "a\nb\\t"


def test_names_in_any_script_stay_as_they_are():
    for text in ("plain", "Ä é ß", "日本語", "עברית", "हिन्दी", "emoji 🙂", "C:\\new", "a\u0301"):
        assert escaped(text) == text


@pytest.mark.parametrize("kind", [JaxmnistError, UsageError, CheckpointError, JaxmnistWarning])
def test_errors_and_warnings_are_one_plain_line(kind):
    assert is_plain(str(kind(f"{EVIL} cannot be read; name another.")))


def test_an_interruption_is_one_plain_line():
    assert is_plain(str(InterruptedRunError(2, Path(EVIL))))


def test_a_warning_made_by_the_standard_way_is_one_plain_line():
    with pytest.warns(JaxmnistWarning) as caught:
        warnings.warn(EVIL, JaxmnistWarning, stacklevel=1)
    assert is_plain(str(caught[0].message))


def test_a_long_message_keeps_its_beginning_and_its_advice():
    names = ", ".join(f"array{number}" for number in range(20_000))
    text = str(CheckpointError(f"weights.npz has {names}; give another file."))
    assert len(text) == MAX_MESSAGE == 1_000
    assert text.startswith("weights.npz has array0, array1")
    assert text.endswith("; give another file.")
    assert "characters) ..." in text


def test_escaping_counts_towards_the_length_and_is_done_once():
    text = one_line("\x1b" * 900)
    assert len(text) == MAX_MESSAGE
    assert one_line(one_line(EVIL)) == one_line(EVIL)
    assert str(UsageError(str(UsageError(EVIL)))) == str(UsageError(EVIL))


def test_a_name_that_is_not_known_is_quoted_on_one_line():
    assert is_plain(str(unknown_name("arch", EVIL, ["first", EVIL])))


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "make room and go on"),
        (errno.EDQUOT, "make room and go on"),
        (errno.EROFS, "make it writable and go on"),
        (errno.EACCES, "make it writable and go on"),
        (errno.EIO, "check that folder and its disk and go on"),
        (errno.ENOENT, "check that folder and its disk and go on"),
    ],
)
def test_room_is_asked_for_only_where_there_is_none(number, advice):
    with pytest.raises(UsageError, match=advice), writing("file", "go on", mend=True):
        raise OSError(number, "reason")
