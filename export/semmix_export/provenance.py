"""Where exported weights came from."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from semmix.bundle.manifest import FileRecord


def file_record(path: Path) -> dict[str, object]:
    """Name, length in bytes and SHA-256 of a file, as plain JSON values."""
    return {"name": path.name, **asdict(FileRecord.of(path))}
