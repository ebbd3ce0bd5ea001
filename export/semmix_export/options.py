"""What options of commands take, read alike by all of the room."""

from __future__ import annotations

from collections.abc import Iterable


def listed(values: Iterable[str]) -> tuple[str, ...]:
    """Names from `["fp32,fp16", "int8"]`, each once, in the order given."""
    names = (name.strip() for value in values for name in value.split(","))
    return tuple(dict.fromkeys(name for name in names if name))
