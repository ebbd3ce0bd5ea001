"""Write a file whole or not at all."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write piece by piece, which replaces `path` when the `with` block ends well.

    Readers and concurrent writers see the old file or the new one, never a part.

    Raises:
        OSError: the folder cannot be written, or the disk is full; `path` is as it was.
    """
    # Opened by name and not by mkstemp, so that the file gets the user's usual permissions.
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}.part")
    try:
        with temporary.open("xb") as file:
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, through `atomic_file`.

    Raises:
        OSError: the folder cannot be written, or the disk is full; `path` is as it was.
    """
    with atomic_file(path) as file:
        file.write(data)


def move_folder(fresh: Path, path: Path, aside: Path) -> None:
    """Put `fresh`, a file or folder, at `path`; a folder cannot be replaced in one step.

    Args:
        fresh: what is complete, on the same file system.
        path: where it goes; what stands there goes to `aside`, and returns on failure.
        aside: a free name on the same file system.

    Raises:
        OSError: it cannot be moved; `path` is as it was.
    """
    replaces = path.exists()
    if replaces:
        path.replace(aside)
    try:
        fresh.replace(path)
    except OSError:
        if replaces:
            aside.replace(path)
        raise
