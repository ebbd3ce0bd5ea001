"""Whose code lies in a folder.

A plan is code, and its hash and the record of its proof lie beside it: whoever may write there can
forge all three. So nothing is loaded that others than this user and the system's own may change.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OTHERS_ENTER = stat.S_IXGRP | stat.S_IXOTH


def make_private(folder: Path) -> None:
    """Create a folder that only this user may enter, unless it exists; those above as usual.

    Raises:
        OSError: it cannot be created.
    """
    folder.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)


def distrust(folder: Path, *files: Path) -> str:
    """Why others may have written what lies in a folder, as a sentence with what to do.

    Args:
        folder: which need not exist.
        files: in it; where others cannot enter the folder, these do not matter.

    Returns:
        empty where only this user, or the system's administrator, may write, and on Windows, where
        permissions are no bits.
    """
    if os.name == "nt":
        return ""
    found = _distrust(folder)
    if found or not folder.exists() or not folder.stat().st_mode & _OTHERS_ENTER:
        return found
    return next(filter(None, map(_distrust, files)), "")


def _distrust(path: Path) -> str:
    try:
        facts = path.stat()
    except FileNotFoundError:
        return ""
    if facts.st_uid not in (os.geteuid(), 0):
        return (
            f"{path} belongs to another user, who could put any code there: use a folder of your "
            "own, and build the engines again"
        )
    if facts.st_mode & _OTHERS_WRITE:
        return (
            f"{path} may be written by others, who could put any code there: run `chmod go-w "
            f"{path}` if what is in it is yours"
        )
    return ""
