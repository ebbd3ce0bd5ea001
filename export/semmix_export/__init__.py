"""Export: PyTorch to ONNX, the proof that they agree, and a look at what was made.

from semmix_export import export, inspect, verify

export("edge", Path("edge-half-second"), chunk_s=0.5)
verify("film_mixer").passed            # writes what it found into the bundle
inspect("edge").precisions["fp32"]
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semmix_export.exporting import Export, export
    from semmix_export.inspection import Inspection, inspect
    from semmix_export.verification import Verification, verify

__all__ = ["Export", "Inspection", "Verification", "export", "inspect", "verify"]

_HOMES = {
    "Export": "exporting",
    "Inspection": "inspection",
    "Verification": "verification",
    "export": "exporting",
    "inspect": "inspection",
    "verify": "verification",
}


def __getattr__(name: str) -> Any:
    # Imported on first use: a command's help must answer before PyTorch is loaded.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
