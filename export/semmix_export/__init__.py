"""Export: PyTorch to ONNX and TensorRT, the proof that they agree, a look at what was made.

Each function is what the command of its name does, and takes a model, its path, or the name of one
that comes along:

from semmix_export import build, export, inspect, verify

export("edge", Path("edge-half-second"), chunk_s=0.5)
build("edge", targets=["sm86"])        # engines, where the runtime looks for them
verify("film_mixer").passed            # writes what it found into the bundle
inspect("edge").precisions["fp32"]
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semmix_export.exporting import Export, export
    from semmix_export.inspection import EngineFacts, Inspection, inspect
    from semmix_export.tensorrt.builder import BuiltEngine, build
    from semmix_export.verification import Verification, verify

__all__ = [
    "BuiltEngine",
    "EngineFacts",
    "Export",
    "Inspection",
    "Verification",
    "build",
    "export",
    "inspect",
    "verify",
]

_HOMES = {
    "BuiltEngine": "tensorrt.builder",
    "EngineFacts": "inspection",
    "Export": "exporting",
    "Inspection": "inspection",
    "Verification": "verification",
    "build": "tensorrt.builder",
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
