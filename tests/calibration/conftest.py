"""A small network and a folder of stems for all tests of the room."""

from __future__ import annotations

from pathlib import Path

import pytest
from support_training import write_stems

from semmix.bundle import Bundle


@pytest.fixture(scope="session")
def small(exported) -> Bundle:
    """The tiny preset, meter included, with lively weights, as a bundle."""
    return exported.bundle


@pytest.fixture(scope="session")
def stems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seeded speech, music and effects of 1.5 to 3 s."""
    return write_stems(tmp_path_factory.mktemp("sounds") / "stems")
