"""Single numbers of a run changed by name, so that an experiment is one line of shell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

from semmix.errors import UsageError

Settings = TypeVar("Settings")
Sizes = TypeVar("Sizes")


def override(
    settings: Settings, sizes: Sizes, assignments: Sequence[str]
) -> tuple[Settings, Sizes]:
    """Both dataclasses with fields replaced, as in `context_layers=3` or `dropout=0.1`.

    A value is read as what the field holds now: a number, a word, or numbers with commas.

    Raises:
        UsageError: no such field, or a value of another kind.
    """
    known: dict[str, Any] = {}
    owners: tuple[Any, Any] = (settings, sizes)
    for owner in owners:
        known.update((name, owner) for name in _changeable(owner))
    changes: dict[int, dict[str, Any]] = {id(settings): {}, id(sizes): {}}
    for assignment in assignments:
        name, sign, text = assignment.partition("=")
        if not sign or name not in known:
            raise UsageError(
                f"--set {assignment} changes nothing: write NAME=VALUE with one of "
                f"{', '.join(sorted(known))}"
            )
        owner = known[name]
        changes[id(owner)][name] = _value(text, getattr(owner, name), assignment)
    return (
        replace(settings, **changes[id(settings)]),  # type: ignore[type-var]
        replace(sizes, **changes[id(sizes)]),  # type: ignore[type-var]
    )


def _changeable(owner: Any) -> list[str]:
    """Fields that hold a number, a word, a switch or a row of integers."""
    return [f.name for f in fields(owner) if _kind(getattr(owner, f.name)) is not None]


def _kind(value: Any) -> type | None:
    if isinstance(value, tuple) and value and all(isinstance(v, int) for v in value):
        return tuple
    return type(value) if isinstance(value, bool | int | float | str) else None


def _value(text: str, now: Any, assignment: str) -> Any:
    kind = _kind(now)
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        if kind is tuple:
            return tuple(int(part) for part in text.split(","))
        assert kind is not None
        return kind(text)
    except (ValueError, KeyError) as exc:
        raise UsageError(f"--set {assignment}: the value must be like {now!r}") from exc
