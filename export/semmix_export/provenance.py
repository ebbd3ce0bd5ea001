"""Where exported weights came from."""

from __future__ import annotations

import hashlib
from pathlib import Path


def file_record(path: Path) -> dict[str, object]:
    """Name, length in bytes and SHA-256 of a file, as plain JSON values."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": digest}
