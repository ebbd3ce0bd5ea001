"""The folder layout of the Muddy Mix data set (VisAH, section 4) as clips to evaluate on.

    <film>/sub_video/<clip>/audio_raw/*.wav                 the right mix, as it was in the film
                            remix_global/target_mix.wav     the muddy mix, whatever its name says
                            frames/001.png ...              pictures, one a second
                            separated/speech.wav, music.wav, effects+residual.wav     optional
                            cues.json                       optional, of this project

The muddy mix lies where the authors' loader reads its input from. Without separated stems the
levels of stems are not known. Cues come from a cue sheet where there is one, else from the
pictures, by the extractor that `remix` uses; stills show no motion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from semmix.cues.sheet import load_sheet
from semmix.cues.types import CUE_TYPES, CueType
from semmix.errors import MediaError
from semmix.training.clips import Clip
from semmix.training.scenes import Shot

Float32 = NDArray[np.float32]
PictureCues = Mapping[CueType, str | None]
DescribeFrame = Callable[[Path], PictureCues]
"""Cue sentences of one picture file."""

DURATION_S = 10.0
FRAME_S = 1.0
STEM_FILES: tuple[tuple[str, ...], ...] = (
    ("speech.wav",),
    ("music.wav",),
    ("effects+residual.wav", "effects.wav"),
)
"""Names of each stem's file, the first that exists counts; the residual belongs to the effects,
so that the stems sum to the mix."""

_MAX_SECONDS = 600.0


class MuddyMix:
    """The clips of a folder, in order of their paths.

    Attributes:
        name, sample_rate_hz, duration_s, count: see `semmix.training.clips.ClipSource`.
    """

    duration_s = DURATION_S

    def __init__(
        self, root: Path, sample_rate_hz: int, describe: DescribeFrame | None = None
    ) -> None:
        """Look through the folder and see that every clip is whole.

        Args:
            root: folder with a folder for each film.
            sample_rate_hz: rate of the clips.
            describe: reads cues from pictures; the program's own extractor by default.

        Raises:
            MediaError: there is no clip, or one lacks a file.
        """
        folders = sorted(path for path in root.glob("*/sub_video/*") if path.is_dir())
        if not folders:
            raise MediaError(
                f"{root}: no clips were found; the Muddy Mix layout is "
                "<film>/sub_video/<clip>/audio_raw, remix_global and frames"
            )
        lacking = {folder: missing for folder in folders if (missing := _missing(folder))}
        if lacking:
            folder, missing = next(iter(lacking.items()))
            raise MediaError(
                f"{folder} lacks {', '.join(missing)} ({len(lacking)} of {len(folders)} clips are "
                "not whole): complete them or take them away"
            )
        self.name = root.name
        self.sample_rate_hz = sample_rate_hz
        self.count: int | None = len(folders)
        self._folders = folders
        self._describe = describe or describe_still
        self._shots: dict[int, tuple[Shot, ...]] = {}

    def clip(self, index: int) -> Clip:
        """The clip with this number.

        Raises:
            MediaError: a file cannot be decoded.
            CueSheetError: its cue sheet is not well formed.
        """
        folder = self._folders[index]
        stems = None
        if (folder / "separated").is_dir():
            stems = np.stack([self._read(_stem(folder, names)) for names in STEM_FILES])
        return Clip(
            name=folder.name,
            mix=self._read(folder / "remix_global" / "target_mix.wav"),
            target=self._read(_raw(folder)[0]),
            target_stems=stems,
            shots=self.shots(index),
            frames=tuple(_frames(folder)),
        )

    def shots(self, index: int) -> tuple[Shot, ...]:
        """The shots of a clip, read from its pictures once.

        Raises:
            MediaError: a picture cannot be decoded.
            CueSheetError: its cue sheet is not well formed.
        """
        if index not in self._shots:
            folder = self._folders[index]
            (film,) = self.situations(index)
            sheet = folder / "cues.json"
            self._shots[index] = (
                _shots_of_sheet(sheet, film)
                if sheet.is_file()
                else shots_of_frames([self._describe(f) for f in _frames(folder)], film)
            )
        return self._shots[index]

    def minimal(self, index: int) -> tuple[Shot, ...] | None:
        """None: what minimal prompts would have said was not asked."""
        return None

    def situations(self, index: int) -> tuple[str, ...]:
        """The clip's film: what clips of other films show is taken for another picture."""
        return (self._folders[index].parent.parent.name,)

    def _read(self, path: Path) -> Float32:
        """The first ten seconds as mono `[N]`, shorter files followed by silence."""
        try:
            info = soundfile.info(str(path))
            if info.duration > _MAX_SECONDS:
                raise MediaError(
                    f"{path} lasts {info.duration:.0f} s: a clip has {DURATION_S:g} s, and more "
                    f"than {_MAX_SECONDS:g} s are not read"
                )
            data, rate_hz = soundfile.read(str(path), dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, OSError) as exc:
            raise MediaError(f"{path}: cannot be decoded ({exc}); repair or remove it") from exc
        if not np.isfinite(data).all():
            raise MediaError(f"{path} holds NaN or infinity: repair it")
        mono = data.mean(axis=1)
        if rate_hz != self.sample_rate_hz:
            mono = soxr.resample(mono, rate_hz, self.sample_rate_hz, quality="VHQ")
        out = np.zeros(round(DURATION_S * self.sample_rate_hz), np.float32)
        kept = min(out.size, mono.size)
        out[:kept] = mono[:kept]
        return out


def describe_still(path: Path) -> PictureCues:
    """Cue sentences of one picture, by the extractor that comes with the program.

    Raises:
        MediaError: the file is no picture.
    """
    from semmix_rt.cues.extract import extract_sheet

    segment = extract_sheet(path, cache=False).segments[0]
    return {kind: segment.cue(kind).text for kind in CUE_TYPES}


def shots_of_frames(cues: Sequence[PictureCues], situation: str) -> tuple[Shot, ...]:
    """Shots of pictures that follow each other every second; equal neighbours are one.

    The last picture holds to the end of the clip.
    """
    shots, start = [], 0
    for _, same in groupby(cues, key=lambda c: tuple(c.get(kind) for kind in CUE_TYPES)):
        held = list(same)
        end = start + len(held)
        shots.append(Shot(start * FRAME_S, end * FRAME_S, situation, held[0]))
        start = end
        if start * FRAME_S >= DURATION_S:
            break
    last = shots[-1]
    return (*shots[:-1], Shot(last.start_s, DURATION_S, situation, last.cues))


def _shots_of_sheet(path: Path, situation: str) -> tuple[Shot, ...]:
    shots = tuple(
        Shot(
            s.start_s,
            min(s.end_s, DURATION_S),
            situation,
            {kind: s.cue(kind).text for kind in CUE_TYPES},
        )
        for s in load_sheet(path).segments
        if s.start_s < DURATION_S
    )
    if not shots:
        raise MediaError(f"{path} says nothing about the first {DURATION_S:g} s: mend or remove it")
    return shots


def _raw(folder: Path) -> list[Path]:
    return sorted((folder / "audio_raw").glob("*.wav"))


def _frames(folder: Path) -> list[Path]:
    return sorted((folder / "frames").glob("*.png"))


def _stem(folder: Path, names: Sequence[str]) -> Path:
    candidates = [folder / "separated" / name for name in names]
    return next((path for path in candidates if path.is_file()), candidates[0])


def _missing(folder: Path) -> list[str]:
    """What a clip's folder lacks, in the words of the layout."""
    missing = []
    if not _raw(folder):
        missing.append("audio_raw/*.wav")
    if not (folder / "remix_global" / "target_mix.wav").is_file():
        missing.append("remix_global/target_mix.wav")
    if not _frames(folder) and not (folder / "cues.json").is_file():
        missing.append("frames/*.png")
    if (folder / "separated").is_dir():
        missing += [
            f"separated/{names[0]}" for names in STEM_FILES if not _stem(folder, names).is_file()
        ]
    return missing
