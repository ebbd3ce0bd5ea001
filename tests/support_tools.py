"""The scripts in `tools/`, for tests: as modules, and what they add to a stem folder."""

from __future__ import annotations

import csv
import importlib.util
import os
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

TOOLS = Path(__file__).resolve().parent.parent / "tools"
SOUNDFONT = os.environ.get("SEMMIX_SOUNDFONT", "")
needs_synthesiser = pytest.mark.skipif(
    shutil.which("fluidsynth") is None or not SOUNDFONT,
    reason="fluidsynth is not installed, or SEMMIX_SOUNDFONT names no General MIDI sound font",
)


def load_tool(name: str) -> ModuleType:
    """The script `tools/NAME.py`; it may import its neighbours, as when it is run."""
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(TOOLS))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(TOOLS))
    return module


def catalogued_sounds(stems: Path) -> list[dict[str, str]]:
    """Rows of a stem folder's catalogue; each file sounds, as long as its row says."""
    with (stems / "catalog.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    for row in rows:
        sound, rate_hz = soundfile.read(stems / row["path"])
        assert rate_hz == 48_000
        assert len(sound) / rate_hz == pytest.approx(float(row["seconds"]), abs=0.01)
        assert np.abs(sound).max() > 0.005
    return rows
