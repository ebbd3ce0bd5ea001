"""What all readers of zips agree on: which entries are read, and what a damaged zip raises."""

from __future__ import annotations

import zipfile
import zlib

ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError)
"""What `zipfile` raises for a damaged or foreign zip of `checked_entries`: offsets before the
start are a `ValueError`, entries that are encrypted or need a newer version a `RuntimeError`."""

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def checked_entries(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """All entries, none of which needs another decompressor than deflate's.

    No writer of ours uses others, whose damage shows in errors of their own.

    Raises:
        zipfile.BadZipFile: one does.
    """
    entries = archive.infolist()
    for entry in entries:
        if entry.compress_type not in _METHODS:
            raise zipfile.BadZipFile(f"{entry.filename!r} is neither stored nor deflated")
    return entries
