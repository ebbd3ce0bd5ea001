"""Where the bytes of a bundle come from: a folder or a zip, read within limits.

A source hands out bytes by plain name and never leaves its folder or archive. It trusts no
length that it has not counted itself.
"""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import BinaryIO, Protocol

from semmix.bundle.zips import ZIP_ERRORS, checked_entries
from semmix.errors import ModelFormatError

_MAX_ZIP_BYTES = 2 << 30
_MAX_ZIP_ENTRIES = 64
_MAX_ZIP_DIRECTORY_BYTES = 64 << 10
_BLOCK_BYTES = 1 << 20
# What desktops drop into any folder they show; never read.
_LITTER = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})


class Source(Protocol):
    """A set of named files.

    Attributes:
        path: the folder or zip.
    """

    path: Path

    def names(self) -> set[str]:
        """Names of all files."""
        ...

    def read(self, name: str, limit_bytes: int) -> bytes:
        """Content of a file of at most `limit_bytes`.

        Raises:
            ModelFormatError: the file is missing, longer, unreadable, or a way out.
        """
        ...


class FolderSource:
    """Files that lie directly in a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> set[str]:
        """Names of all entries, folders included (a bundle has none)."""
        try:
            found = {entry.name for entry in self.path.iterdir()}
        except OSError as exc:
            raise ModelFormatError(
                f"the bundle {self.path} cannot be listed ({exc.strerror}): check its permissions"
            ) from exc
        return found - _LITTER

    def read(self, name: str, limit_bytes: int) -> bytes:
        """Content of one file; links that lead out of the folder are refused."""
        file = self.path / name
        try:
            if not file.is_file() or file.resolve().parent != self.path.resolve():
                raise ModelFormatError(
                    f"{file} is missing or not a plain file inside its bundle: "
                    "fetch the bundle anew, without links"
                )
            with file.open("rb") as stream:
                return _read_limited(stream, limit_bytes, str(file))
        except OSError as exc:
            raise ModelFormatError(
                f"{file} cannot be read ({exc.strerror}): check its permissions"
            ) from exc


class ZipSource:
    """Files of a zip, at its root or all in one folder; they are read into memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        _check_zip_end(path)
        self._entries = self._list()

    def names(self) -> set[str]:
        """Names of all files, without the common folder."""
        return set(self._entries)

    def read(self, name: str, limit_bytes: int) -> bytes:
        """Content of one file, inflated to at most `limit_bytes`."""
        entry = self._entries.get(name)
        where = f"{name} in {self.path}"
        if entry is None:
            raise ModelFormatError(f"{where} is missing: fetch the bundle anew")
        if entry.flag_bits & 1:
            raise ModelFormatError(f"{where} is encrypted: unpack the zip and give the folder")
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(entry) as stream:
                return _read_limited(stream, limit_bytes, where)  # type: ignore[arg-type]
        except ZIP_ERRORS as exc:
            raise _damaged_zip(self.path, exc) from exc

    def _list(self) -> dict[str, zipfile.ZipInfo]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                infos = [info for info in checked_entries(archive) if not _is_litter(info)]
        except ZIP_ERRORS as exc:
            raise _damaged_zip(self.path, exc) from exc
        folders = {info.filename.rpartition("/")[0] for info in infos}
        entries = {info.filename.rpartition("/")[2]: info for info in infos}
        nested = len(folders) != 1 or any("/" in folder for folder in folders)
        if nested or len(entries) != len(infos):
            raise ModelFormatError(
                f"{self.path} is not a zip of one bundle folder: zip the files of one bundle only"
            )
        return entries


def open_source(path: Path) -> Source:
    """The source at `path`: a folder, or a zip of one.

    Raises:
        ModelFormatError: there is neither.
    """
    if path.is_dir():
        return FolderSource(path)
    if path.is_file():
        return ZipSource(path)
    raise ModelFormatError(
        f"there is no bundle at {path}: give the folder that holds bundle.json, or a zip of it"
    )


def _read_limited(stream: BinaryIO, limit_bytes: int, where: str) -> bytes:
    """Read all, in blocks, so that no more than the limit is ever held."""
    blocks: list[bytes] = []
    total = 0
    while block := stream.read(min(_BLOCK_BYTES, limit_bytes + 1 - total)):
        blocks.append(block)
        total += len(block)
        if total > limit_bytes:
            raise ModelFormatError(
                f"{where} is longer than the {limit_bytes} bytes allowed: fetch the bundle anew"
            )
    return b"".join(blocks)


def _check_zip_end(path: Path) -> None:
    """Refuse huge archives before `zipfile` reads their whole directory into memory.

    Reads the end-of-central-directory record (PKWARE APPNOTE 4.3.16); zip64 is refused, as
    no bundle needs it and its record could contradict this one.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            stream.seek(max(0, size - 65_557))
            tail = stream.read()
    except OSError as exc:
        raise ModelFormatError(
            f"{path} cannot be read ({exc.strerror}): check its permissions"
        ) from exc
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) - end < 22:
        raise ModelFormatError(
            f"{path} is not a bundle: give the folder that holds bundle.json, "
            "or a complete zip of it"
        )
    entries, directory_bytes = struct.unpack_from("<HI", tail, end + 10)
    zip64 = tail[max(0, end - 20) : end].startswith(b"PK\x06\x07")
    fits = entries <= _MAX_ZIP_ENTRIES and directory_bytes <= _MAX_ZIP_DIRECTORY_BYTES
    if zip64 or not fits or size > _MAX_ZIP_BYTES:
        raise ModelFormatError(
            f"{path} is larger than any bundle ({entries} entries, {size} bytes): "
            "give a zip of one bundle only"
        )


def _is_litter(info: zipfile.ZipInfo) -> bool:
    """Folders, and what macOS adds to every zip."""
    folder, _, name = info.filename.rpartition("/")
    return info.is_dir() or folder.startswith("__MACOSX") or name in _LITTER


def _damaged_zip(path: Path, exc: Exception) -> ModelFormatError:
    return ModelFormatError(f"the zip {path} is damaged ({exc}): fetch the bundle anew")
