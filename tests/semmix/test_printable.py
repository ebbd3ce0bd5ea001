"""Foreign text on a terminal: what shows is kept, what acts is written out."""

import sys
import unicodedata

import pytest

from semmix.printable import printable


@pytest.mark.parametrize("text", ["", "edge", "Grüße, 映画 🎬 naïve", "C:\\x", "a b"])
def test_what_shows_is_kept(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x7f\x9b", "\\x7f\\x9b"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("\u2066\u200b\u2028", "\\u2066\\u200b\\u2028"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_what_acts_is_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_nothing_that_acts_is_left_of_any_character() -> None:
    shown = printable("".join(map(chr, range(sys.maxunicode + 1))))
    # Unassigned characters may show as a box, which does no harm.
    assert {unicodedata.category(c) for c in shown if not c.isprintable()} <= {"Cn", "Zs"}
