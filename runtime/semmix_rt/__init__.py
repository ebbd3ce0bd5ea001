"""The runtime: media, cues, engines and streaming behind two calls.

from semmix_rt import remix, Remixer

remix("film.mp4")                      # writes film.remix.mp4
Remixer(48_000, 2).process(block)      # block-wise, for hosts
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semmix_rt.pipeline import RemixResult, remix
    from semmix_rt.remixer import Remixer
    from semmix_rt.window_context import Held

__all__ = ["Held", "RemixResult", "Remixer", "remix"]

_HOMES = {
    "Held": "window_context",
    "RemixResult": "pipeline",
    "Remixer": "remixer",
    "remix": "pipeline",
}


def __getattr__(name: str) -> Any:
    # Imported on first use: the command line must answer before NumPy and PyAV are loaded.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
