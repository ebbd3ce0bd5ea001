"""Calibration: precision choices measured on real audio.

from semmix_calibration import calibrate

calibrate("edge", "edge8", media=["film.mp4"], search=True)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semmix_calibration.calibration import Calibration, calibrate

__all__ = ["Calibration", "calibrate"]


def __getattr__(name: str) -> Any:
    # Imported on first use: the help of the command must answer before onnx is loaded.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.calibration"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
