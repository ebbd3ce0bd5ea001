"""One small network, its bundle and a folder of stems for all tests of the room."""

from __future__ import annotations

from pathlib import Path

import pytest
from semmix_export.bundle import export_bundle
from support_training import checkpoint_of, lively_network, write_stems

from semmix.bundle import Bundle


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny preset, meter included, with lively weights, as a bundle."""
    folder: Path = tmp_path_factory.mktemp("calibration") / "small"
    return export_bundle(checkpoint_of(lively_network("tiny")), folder, model_card="# small\n")


@pytest.fixture(scope="session")
def stems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seeded speech, music and effects of 1.5 to 3 s."""
    return write_stems(tmp_path_factory.mktemp("sounds") / "stems")
