"""Export: PyTorch to ONNX, and the proof that they agree.

from semmix_export import export

export("edge", Path("edge-half-second"), chunk_s=0.5)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semmix_export.exporting import Export, export

__all__ = ["Export", "export"]


def __getattr__(name: str) -> Any:
    # Imported on first use: the help of the commands must answer before PyTorch is loaded.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.exporting"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
