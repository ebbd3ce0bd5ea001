"""Few of the gate's sounds, where the sounds themselves are not what is tested."""

from __future__ import annotations

from collections.abc import Callable

from semmix_export.gate_sounds import Sound, gate_sounds

from semmix.specs import Spec


def only(*names: str) -> Callable[..., tuple[Sound, ...]]:
    """`gate_sounds` cut down to the sounds of these names."""

    def few(spec: Spec, **options: object) -> tuple[Sound, ...]:
        return tuple(s for s in gate_sounds(spec, **options) if s.name in names)  # type: ignore[arg-type]

    return few
