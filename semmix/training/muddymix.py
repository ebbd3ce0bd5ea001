"""The folder layout of the Muddy Mix data set (VisAH, section 4) as clips to evaluate on.

    <film>/sub_video/<clip>/audio_raw/<clip>.wav            the right mix, as it was in the film
                            remix_global/target_mix.wav     the muddy mix, whatever its name says
                            frames/001.png ...              pictures, one a second
                            frames_feats/visual_feats.pt    vectors of them, one a second
                            frames_captions/InternVL2-8B_prompt1_feats.pt      and of captions
                            separated/speech.wav, music.wav, effects+residual.wav     optional
                            cues.json                       optional, of this project

The muddy mix lies where the authors' loader reads its input from. Without separated stems the
levels of stems are not known; with them, the right mix must be their sum. Cues come from a cue
sheet where there is one, else from the pictures, by the extractor that `remix` uses; stills show
no motion. Which of pictures and vectors there must be depends on what the model is told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semmix.cues.sheet import load_sheet
from semmix.cues.types import CUE_TYPES, CueType
from semmix.errors import MediaError
from semmix.training.clips import Clip, fingerprint
from semmix.training.features import read_features
from semmix.training.muddymix_files import (
    DURATION_S,
    FEATURE_FILES,
    Need,
    files_of,
    frames_of,
    lacking,
    read_sounds,
    sheet_of,
)
from semmix.training.scenes import Shot

Float32 = NDArray[np.float32]
PictureCues = Mapping[CueType, str | None]
DescribeFrame = Callable[[Path], PictureCues]
"""Cue sentences of one picture file."""

FRAME_S = 1.0
_LISTED = 5
"""Incomplete clips a message names; the rest is counted."""


class MuddyMix:
    """The clips of a folder, in order of their paths.

    Attributes:
        name, sample_rate_hz, duration_s, count, fingerprint: see
            `semmix.training.clips.ClipSource`.
        skipped: names of the clips that are not whole and were left out.
    """

    duration_s = DURATION_S

    def __init__(
        self,
        root: Path,
        sample_rate_hz: int,
        describe: DescribeFrame | None = None,
        *,
        need: Need = "cues",
        skip_incomplete: bool = False,
    ) -> None:
        """Look through the folder and see that every clip is whole.

        Args:
            root: folder with a folder for each film.
            sample_rate_hz: rate of the clips.
            describe: reads cues from pictures; the program's own extractor by default.
            need: what the model is told from. Of clips without cues every shot is the whole clip.
            skip_incomplete: leave clips out that lack a file, instead of refusing them all.

        Raises:
            MediaError: there is no whole clip, or one that lacks a file may not be skipped.
        """
        folders = sorted(path for path in root.glob("*/sub_video/*") if path.is_dir())
        if not folders:
            raise MediaError(
                f"{root}: no clips were found; the Muddy Mix layout is "
                "<film>/sub_video/<clip>/audio_raw, remix_global and frames"
            )
        broken = {folder: missing for folder in folders if (missing := lacking(folder, need))}
        if broken and not (skip_incomplete and len(broken) < len(folders)):
            raise MediaError(
                f"{root}: {len(broken)} of {len(folders)} clips are not whole: {_listed(broken)}; "
                "complete them, take them away"
                + ("" if skip_incomplete else ", or leave them out with --skip-incomplete")
            )
        self.name = root.name
        self.sample_rate_hz = sample_rate_hz
        self.skipped = tuple(folder.name for folder in broken)
        self._folders = [folder for folder in folders if folder not in broken]
        self.count: int | None = len(self._folders)
        self.fingerprint = fingerprint(
            (path.relative_to(root).as_posix(), path.stat().st_size)
            for folder in self._folders
            for path in files_of(folder, need)
        )
        self._need = need
        self._describe = describe or describe_still
        self._shots: dict[int, tuple[Shot, ...]] = {}

    def clip(self, index: int) -> Clip:
        """The clip with this number.

        Raises:
            MediaError: a file cannot be decoded, or the stems do not add up to the right mix.
            CueSheetError: its cue sheet is not well formed.
        """
        folder = self._folders[index]
        mix, target, stems = read_sounds(folder, self.sample_rate_hz)
        return Clip(
            name=folder.name,
            mix=mix,
            target=target,
            target_stems=stems,
            shots=self.shots(index),
            frames=self.frames(index),
        )

    def frames(self, index: int) -> tuple[Path, ...]:
        """The pictures of a clip, one a second."""
        return tuple(frames_of(self._folders[index]))

    def features(self, index: int, dim: int) -> Float32:
        """The context vectors that came with a clip, `[K, D]`, one a second from its start on.

        Raises:
            MediaError: the file holds something else than vectors of this width.
        """
        path = self._folders[index] / FEATURE_FILES[self._need]
        return read_features(path, dim, round(DURATION_S / FRAME_S))

    def shots(self, index: int) -> tuple[Shot, ...]:
        """The shots of a clip, read from its pictures once.

        Raises:
            MediaError: a picture cannot be decoded.
            CueSheetError: its cue sheet is not well formed.
        """
        if index not in self._shots:
            self._shots[index] = self._read_shots(index)
        return self._shots[index]

    def minimal(self, index: int) -> tuple[Shot, ...] | None:
        """None: nobody wrote such cues."""
        return None

    def situations(self, index: int) -> tuple[str, ...]:
        """The clip's film: what clips of other films show is taken for another picture."""
        return (self._folders[index].parent.parent.name,)

    def _read_shots(self, index: int) -> tuple[Shot, ...]:
        folder = self._folders[index]
        (film,) = self.situations(index)
        if self._need != "cues":
            return (Shot(0.0, DURATION_S, film, {}),)
        sheet = sheet_of(folder)
        if sheet.is_file():
            return _shots_of_sheet(sheet, film)
        return shots_of_frames([self._describe(f) for f in frames_of(folder)], film)


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


def _listed(broken: Mapping[Path, Sequence[str]]) -> str:
    """The first incomplete clips and what they lack."""
    texts = [f"{folder.name} lacks {', '.join(missing)}" for folder, missing in broken.items()]
    more = len(texts) - _LISTED
    return "; ".join(texts[:_LISTED]) + (f"; and {more} more" if more > 0 else "")
