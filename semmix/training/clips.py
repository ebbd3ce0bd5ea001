"""What an evaluation measures on: clips with a muddy mix, the right mix and what was shown."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from semmix.errors import UsageError
from semmix.training.minimal import minimal_shots
from semmix.training.scenes import SceneGenerator, Shot
from semmix.training.stems import StemLibrary

Float32 = NDArray[np.float32]

MIN_DURATION_S = 1.0
MAX_DURATION_S = 600.0

_EXAMPLES_KEPT = 8


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip whose right mix is known.

    Attributes:
        name: what it is called in tables and files.
        mix: the muddy mix `[N]`.
        target: the right mix `[N]`.
        target_stems: what the target is the sum of `[S, N]`, in the order of `STEMS`; None where
            nobody knows.
        shots: what the picture shows.
        frames: pictures of the clip in order of time, empty where it has none.
    """

    name: str
    mix: Float32
    target: Float32
    target_stems: Float32 | None
    shots: tuple[Shot, ...]
    frames: tuple[Path, ...] = ()


class ClipSource(Protocol):
    """Where clips come from, by number, always the same ones."""

    @property
    def name(self) -> str:
        """The folder's name, for reports."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash of what the clips are made of: equal ones are, by all that names and sizes tell."""
        ...

    @property
    def sample_rate_hz(self) -> int:
        """Rate of every clip."""
        ...

    @property
    def duration_s(self) -> float:
        """Length of every clip."""
        ...

    @property
    def count(self) -> int | None:
        """How many clips there are, None where they never end."""
        ...

    def clip(self, index: int) -> Clip:
        """The clip with this number, from 0."""
        ...

    def shots(self, index: int) -> tuple[Shot, ...]:
        """The shots of a clip, without the work of reading its sound."""
        ...

    def minimal(self, index: int) -> tuple[Shot, ...] | None:
        """The shots with cues of a word or two, None where nobody wrote them."""
        ...

    def situations(self, index: int) -> tuple[str, ...]:
        """What a clip's shots show; clips that share none of it have different pictures."""
        ...


class GeneratedClips:
    """Endless clips from a stem folder, each determined by seed and number.

    Attributes:
        name, fingerprint, sample_rate_hz, duration_s, count: see `ClipSource`.
        seed: with the stem folder it determines every clip.
    """

    count: int | None = None

    def __init__(
        self,
        stems: Path,
        sample_rate_hz: int,
        seed: int,
        duration_s: float,
        delivered: bool = False,
    ) -> None:
        """Look through the folder.

        Args:
            stems: folder with `speech/`, `music/` and `effects/`, see `StemLibrary`.
            sample_rate_hz: rate of the clips.
            seed: 0 or positive.
            duration_s: length of each clip.
            delivered: let muddy mixes come as films do: through codecs, at other rates, clipped.

        Raises:
            UsageError: a number is out of range.
            MediaError: the stem folder does not serve.
        """
        if not MIN_DURATION_S <= duration_s <= MAX_DURATION_S:
            raise UsageError(
                f"clips of {duration_s} s cannot be evaluated: ask for {MIN_DURATION_S:g} to "
                f"{MAX_DURATION_S:g} s"
            )
        if seed < 0:
            raise UsageError(f"the seed is {seed}: give 0 or a positive number")
        self.name = stems.name
        self.sample_rate_hz = sample_rate_hz
        self.duration_s = duration_s
        self.seed = seed
        library = StemLibrary(stems, sample_rate_hz)
        # Labels decide which effects a scene draws.
        self.fingerprint = fingerprint(
            (file.path.relative_to(stems).as_posix(), file.path.stat().st_size, file.label)
            for files in library.files.values()
            for file in files
        )
        generator = SceneGenerator(library, seed, duration_s, drop_cues=False, delivered=delivered)
        # A clip is drawn again as the donor of the one before it: keep the last few.
        self._example = lru_cache(maxsize=_EXAMPLES_KEPT)(generator.example)

    def clip(self, index: int) -> Clip:
        """The clip with this number."""
        example = self._example(index)
        return Clip(str(index), example.mix, example.target, example.target_stems, example.shots)

    def shots(self, index: int) -> tuple[Shot, ...]:
        """The shots of a clip."""
        return self._example(index).shots

    def minimal(self, index: int) -> tuple[Shot, ...] | None:
        """The shots with cues of a word or two, written by hand."""
        return minimal_shots(self.shots(index))

    def situations(self, index: int) -> tuple[str, ...]:
        """Names of the situations in the mixing policy."""
        return tuple(shot.situation for shot in self.shots(index))


def fingerprint(facts: Iterable[tuple[object, ...]]) -> str:
    """SHA-256 of facts about files, in hexadecimal: one line each, in their order."""
    lines = "".join(f"{fact!r}\n" for fact in facts)
    return hashlib.sha256(lines.encode()).hexdigest()
