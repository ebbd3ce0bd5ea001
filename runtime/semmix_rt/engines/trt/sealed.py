"""Bytes on disk behind their hash: what comes back is what was written, or nothing."""

from __future__ import annotations

import hashlib
from pathlib import Path

from semmix.atomic import write_atomically

_DIGEST_BYTES = 32
_MAX_BYTES = 1 << 30


def write_sealed(path: Path, content: bytes) -> None:
    """Write the SHA-256 of `content`, and `content`, whole or not at all.

    Raises:
        OSError: the folder cannot be written.
    """
    write_atomically(path, hashlib.sha256(content).digest() + content)


def read_sealed(path: Path) -> tuple[bytes, str]:
    """What was written, and why a file that is there cannot be used, each empty otherwise."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            return b"", "it is larger than any could be"
        stored = path.read_bytes()
    except FileNotFoundError:
        return b"", ""
    except OSError as exc:
        return b"", exc.strerror or str(exc)
    digest, content = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        return b"", "its hash differs"
    return content, ""
