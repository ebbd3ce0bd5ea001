"""A folder of stems as training material: `speech/`, `music/`, `effects/` and a catalogue."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from semmix.errors import MediaError
from semmix.training.policy import STEMS

AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".aiff", ".aif", ".mp3"})


@dataclass(frozen=True, slots=True)
class StemFile:
    """One recording.

    Attributes:
        path: the file.
        label: words about its content, lower case: category and original name.
    """

    path: Path
    label: str


class StemLibrary:
    """All stems below a folder; decoded audio is kept in memory as int16 at one rate.

    Args:
        root: folder with the sub-folders `speech`, `music` and `effects`. A `catalog.csv` in it
            or in its parent, with the columns `path`, `category` and `original_name`, gives the
            labels; without one the file names do.
        sample_rate_hz: rate that `read` returns.

    Raises:
        MediaError: a sub-folder is missing or holds no audio.
    """

    def __init__(self, root: Path, sample_rate_hz: int) -> None:
        self.root = root
        self.sample_rate_hz = sample_rate_hz
        labels = _catalogue(root)
        self.files: dict[str, tuple[StemFile, ...]] = {}
        for stem in STEMS:
            folder = root / stem
            if not folder.is_dir():
                raise MediaError(
                    f"{root}: there is no folder {stem!r}; a stem folder holds "
                    f"{', '.join(s + '/' for s in STEMS)} with audio files"
                )
            found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
            if not found:
                raise MediaError(f"{folder}: no audio files; put .wav, .flac or .ogg files there")
            self.files[stem] = tuple(StemFile(p, _label(p, root, labels)) for p in found)
        self._audio: dict[Path, NDArray[np.int16]] = {}

    def read(self, file: StemFile) -> NDArray[np.int16]:
        """Mono samples `[N]` at the library's rate.

        Raises:
            MediaError: the file cannot be decoded.
        """
        audio = self._audio.get(file.path)
        if audio is None:
            try:
                data, rate = soundfile.read(str(file.path), dtype="float32", always_2d=True)
            except (soundfile.LibsndfileError, OSError) as exc:
                raise MediaError(f"{file.path}: cannot be decoded ({exc}); remove it") from exc
            mono = data.mean(axis=1)
            if rate != self.sample_rate_hz:
                mono = soxr.resample(mono, rate, self.sample_rate_hz)
            audio = np.rint(np.clip(mono, -1.0, 1.0) * 32767.0).astype(np.int16)
            self._audio[file.path] = audio
        return audio

    def effects_like(self, words: tuple[str, ...]) -> tuple[StemFile, ...]:
        """Effects whose label has one of the words; all of them where none has."""
        effects = self.files["effects"]
        if not words:
            return effects
        fitting = tuple(f for f in effects if any(w in f.label for w in words))
        return fitting or effects


def _words(name: str) -> str:
    return name.lower().replace("_", " ").replace("-", " ")


def _label(path: Path, root: Path, labels: dict[str, str]) -> str:
    """What the catalogue says of a file, by its path or else its name, or the name itself.

    Paths come first: the same name may stand in two sub-folders.
    """
    for key in (path.relative_to(root), path.relative_to(root.parent), path.name):
        if str(key) in labels:
            return labels[str(key)]
    return _words(path.stem)


def _catalogue(root: Path) -> dict[str, str]:
    """Labels by path and by file name, empty without a catalogue.

    Raises:
        MediaError: it is no UTF-8 text.
    """
    labels: dict[str, str] = {}
    for path in (root / "catalog.csv", root.parent / "catalog.csv"):
        if not path.is_file():
            continue
        try:
            with path.open(newline="", encoding="utf-8") as handle:
                rows = list(csv.DictReader(handle))
        except (UnicodeDecodeError, csv.Error) as exc:
            raise MediaError(f"{path}: is no CSV in UTF-8 ({exc}); save it as such") from exc
        for row in rows:
            if file := row.get("path"):
                # Short rows leave the last columns None.
                category, original = row.get("category") or "", row.get("original_name") or ""
                words = _words(f"{category} {Path(original).stem}")
                labels[str(Path(file))] = labels[Path(file).name] = words
        break
    return labels
