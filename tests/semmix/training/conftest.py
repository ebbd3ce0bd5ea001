"""Fixtures of the training tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from support_training import write_stems


@pytest.fixture(scope="session")
def stems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small folder of seeded stems at 48 kHz; tests that change it make their own."""
    return write_stems(tmp_path_factory.mktemp("stems") / "train")
