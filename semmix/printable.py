"""Text of foreign files, made safe to print on a terminal."""

from __future__ import annotations

import unicodedata

_ACTING = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def printable(text: str) -> str:
    """The text with characters that act instead of showing written out as escapes.

    Those are control characters, which move a terminal's cursor or change its title, such as turn
    the direction of writing, and whatever else shows as nothing.
    """
    return "".join(
        c.encode("unicode_escape").decode("ascii") if unicodedata.category(c) in _ACTING else c
        for c in text
    )
