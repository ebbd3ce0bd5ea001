"""Single numbers of a run changed by name, so that an experiment is one line of shell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

from semmix.errors import UsageError
from semmix.nn.bands import BandGroup

Settings = TypeVar("Settings")
Sizes = TypeVar("Sizes")


def override(
    settings: Settings, sizes: Sizes, assignments: Sequence[str]
) -> tuple[Settings, Sizes]:
    """Both dataclasses with fields replaced, as in `context_layers=3` or `dropout=0.1`.

    A value is read as what the field holds now: a number, a word, numbers with commas, or groups
    of bands such as `24x2,16x8`, which are 24 bands of 2 bins and 16 of 8.

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
    try:
        return (
            replace(settings, **changes[id(settings)]),  # type: ignore[type-var]
            replace(sizes, **changes[id(sizes)]),  # type: ignore[type-var]
        )
    except ValueError as exc:
        raise UsageError(f"--set asks for what there is not: {exc}") from exc


def _changeable(owner: Any) -> list[str]:
    """Fields that hold a number, a word, a switch, a row of integers or of band groups."""
    return [f.name for f in fields(owner) if _kind(getattr(owner, f.name)) is not None]


def _kind(value: Any) -> type | None:
    if isinstance(value, tuple) and value:
        kinds = {type(v) for v in value}
        return {int: tuple, BandGroup: BandGroup}.get(kinds.pop()) if len(kinds) == 1 else None
    return type(value) if isinstance(value, bool | int | float | str) else None


def _value(text: str, now: Any, assignment: str) -> Any:
    kind = _kind(now)
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        if kind is tuple:
            return tuple(int(part) for part in text.split(","))
        if kind is BandGroup:
            pairs = (part.split("x") for part in text.split(","))
            return tuple(BandGroup(int(bands), int(bins)) for bands, bins in pairs)
        assert kind is not None
        return kind(text)
    except (ValueError, KeyError) as exc:
        raise UsageError(f"--set {assignment}: the value must be like {_shown(now)}") from exc


def _shown(value: Any) -> str:
    """A value as it would be written."""
    if not isinstance(value, tuple):
        return repr(value)
    return ",".join(f"{v.bands}x{v.bins}" if isinstance(v, BandGroup) else str(v) for v in value)
