"""Completes the edit list of a sound track that starts later than 0 in an MP4 or MOV file.

The muxer writes such a track as [empty edit][whole track], and the encoder's delay would be
heard (and shift the start by one frame). The list has the right length already, only the
second entry has to skip the delay: ISO/IEC 14496-12, 8.6.6 (`elst`), 8.3.2 (`tkhd`), 8.2.2
(`mvhd`). The file's size does not change.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from semmix.errors import VerificationError

_MAX_INDEX_BYTES = 1 << 30


def cut_priming(path: Path, audio_position: int, priming: int, movie_ticks: int) -> None:
    """Make the n-th sound track skip its first samples.

    Args:
        path: the written file.
        audio_position: n among the sound tracks, from 0.
        priming: samples to skip, in the track's time scale.
        movie_ticks: the same in the movie's time scale.

    Raises:
        VerificationError: the index is not as the muxer writes it.
    """
    with path.open("r+b") as file:
        start, size = _top_level(file, path)
        file.seek(start)
        moov = bytearray(file.read(size))
        _patch(moov, audio_position, priming, movie_ticks, path)
        file.seek(start)
        file.write(moov)


def _patch(moov: bytearray, audio_position: int, priming: int, ticks: int, path: Path) -> None:
    tracks = [span for kind, span in _boxes(moov, (0, len(moov))) if kind == b"trak"]
    sound = [t for t in tracks if _handler(moov, t) == b"soun"]
    if audio_position >= len(sound):
        raise _unexpected(path, "the sound track is missing")
    track = sound[audio_position]
    elst = _find(moov, track, b"edts", b"elst")
    tkhd = _find(moov, track, b"tkhd")
    mvhd = _find(moov, (0, len(moov)), b"mvhd")
    if elst is None or tkhd is None or mvhd is None:
        raise _unexpected(path, "the edit list is missing")
    at = elst[0]
    wide = moov[at] == 1
    entries = int.from_bytes(moov[at + 4 : at + 8], "big")
    width = 8 if wide else 4
    first, second = at + 8, at + 8 + 2 * width + 4
    empty = int.from_bytes(moov[first + width : first + 2 * width], "big", signed=True)
    media = int.from_bytes(moov[second + width : second + 2 * width], "big", signed=True)
    if entries != 2 or empty != -1 or media != 0:
        raise _unexpected(path, f"its edit list has {entries} entries, {empty} and {media}")
    _add(moov, second, width, -ticks, path)
    _add(moov, second + width, width, priming, path)
    _add(moov, *_track_duration(moov, tkhd[0]), -ticks, path)
    longest = 0
    for other in tracks:
        head = _find(moov, other, b"tkhd")
        if head is not None:
            where, size = _track_duration(moov, head[0])
            longest = max(longest, int.from_bytes(moov[where : where + size], "big"))
    where, size = (mvhd[0] + 24, 8) if moov[mvhd[0]] == 1 else (mvhd[0] + 16, 4)
    moov[where : where + size] = longest.to_bytes(size, "big")


def _track_duration(moov: bytearray, at: int) -> tuple[int, int]:
    return (at + 28, 8) if moov[at] == 1 else (at + 20, 4)


def _add(moov: bytearray, at: int, width: int, amount: int, path: Path) -> None:
    value = int.from_bytes(moov[at : at + width], "big") + amount
    if value < 0:
        raise _unexpected(path, "its sound is shorter than the encoder's delay")
    moov[at : at + width] = value.to_bytes(width, "big")


def _top_level(file: BinaryIO, path: Path) -> tuple[int, int]:
    at = 0
    end = path.stat().st_size
    while at + 8 <= end:
        file.seek(at)
        head = file.read(16)
        size, kind, skip = int.from_bytes(head[:4], "big"), head[4:8], 8
        if size == 1:
            size, skip = int.from_bytes(head[8:16], "big"), 16
        if size == 0:
            size = end - at
        if kind == b"moov":
            if size - skip > _MAX_INDEX_BYTES:
                break
            return at + skip, size - skip
        if size < skip:
            break
        at += size
    raise _unexpected(path, "its index is missing")


def _boxes(data: bytearray, span: tuple[int, int]) -> Iterator[tuple[bytes, tuple[int, int]]]:
    at, end = span
    while at + 8 <= end:
        size, kind, skip = int.from_bytes(data[at : at + 4], "big"), bytes(data[at + 4 : at + 8]), 8
        if size == 1:
            size, skip = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        if size < skip or at + size > end:
            return
        yield kind, (at + skip, at + size)
        at += size


def _find(data: bytearray, span: tuple[int, int], *kinds: bytes) -> tuple[int, int] | None:
    found: tuple[int, int] | None = span
    for wanted in kinds:
        if found is None:
            return None
        found = next((inner for kind, inner in _boxes(data, found) if kind == wanted), None)
    return found


def _handler(moov: bytearray, track: tuple[int, int]) -> bytes:
    hdlr = _find(moov, track, b"mdia", b"hdlr")
    return b"" if hdlr is None else bytes(moov[hdlr[0] + 8 : hdlr[0] + 12])


def _unexpected(path: Path, what: str) -> VerificationError:
    return VerificationError(
        f"the start of the sound in {path.name} cannot be written exactly ({what}): use .mkv"
    )
