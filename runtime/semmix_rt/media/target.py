"""Checks on the file to be written, before and while it is written."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from semmix.errors import MediaError, UsageError


def check_target(source: Path, target: Path, overwrite: bool) -> None:
    """Refuse a target that must not or cannot be written.

    Raises:
        UsageError: it exists, is the source, or is a folder; its folder does not exist.
        MediaError: its folder cannot be written to.
    """
    if target.is_dir():
        raise UsageError(f"the output {target} is a folder: name a file in it")
    folder = target.absolute().parent
    if not folder.is_dir():
        raise UsageError(f"the folder {folder} does not exist: make it first")
    if target.exists():
        if target.samefile(source):
            raise UsageError(f"the output {target} is the input: choose another name")
        if not overwrite:
            raise UsageError(f"{target} exists: choose another name, or pass --overwrite (-y)")
    if not os.access(folder, os.W_OK):
        raise MediaError(f"the folder {folder} cannot be written to: choose another output folder")


def create_temporary(target: Path) -> Path:
    """A new empty file beside the target, of the same suffix.

    Raises:
        MediaError: the folder is not writable, or the disk is full.
    """
    temporary = target.with_name(f".{target.stem}.{secrets.token_hex(4)}.part{target.suffix}")
    try:
        temporary.open("xb").close()
    except OSError as exc:
        raise write_error(target, exc) from exc
    return temporary


def write_error(target: Path, exc: BaseException) -> MediaError:
    """The sentence for a failed write; a full disk is the usual cause."""
    reason = getattr(exc, "strerror", None) or str(exc)
    return MediaError(
        f"{target} cannot be written ({reason}): make room or choose another folder, "
        "nothing was left behind"
    )
