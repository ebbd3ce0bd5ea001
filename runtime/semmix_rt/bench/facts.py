"""The machine, the versions and the sizes that belong to a time."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, distribution
from itertools import chain
from pathlib import Path
from typing import Any

from semmix.bundle import Bundle
from semmix_rt.environment import cpu, installed
from semmix_rt.report import tool_versions

_NEEDS = {
    "ort": ("onnxruntime", "onnxruntime-gpu"),
    "torch": ("torch",),
    "tensorrt": ("tensorrt", "tensorrt-cu13", "tensorrt-cu13-libs", "tensorrt-cu13-bindings"),
    "tensorrt-rtx": ("tensorrt-rtx", "tensorrt-rtx-cu13-libs", "tensorrt-rtx-cu13-bindings"),
}


def machine(threads: int) -> dict[str, Any]:
    """What the times were measured on, as plain JSON values; `load_1min` before the start."""
    return {
        "cpu": cpu(),
        "threads": threads,
        "load_1min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "tool": tool_versions(),
        "versions": installed(tuple(chain.from_iterable(_NEEDS.values()))),
    }


def graph_bytes(bundle: Bundle, precision: str) -> int:
    """Size of the mask network's file."""
    return bundle.manifest.files[bundle.manifest.graphs[precision]].bytes


def install_mb(engine: str) -> float | None:
    """Size of what an engine needs installed, in MB (1e6 bytes), None where it cannot be told."""
    family = max((key for key in _NEEDS if engine.startswith(key)), key=len, default=None)
    sizes = [_package_bytes(name) for name in _NEEDS.get(family or "", ())]
    known = [size for size in sizes if size is not None]
    return round(sum(known) / 1e6, 1) if known else None


def _package_bytes(name: str) -> int | None:
    try:
        files = distribution(name).files or ()
    except PackageNotFoundError:
        return None
    total = 0
    for file in files:
        path = Path(str(file.locate()))
        if path.is_file():
            total += path.stat().st_size
    return total
