"""Measure a remixer on muddy mixes whose right answer is known.

Clips come from any stem folder through the generator of training, each fully determined by
seed and number. Every clip is remixed four times: with the cues of its picture, without cues,
with the cues of another clip whose picture differs, and, with its own cues, from the mix that is
already right. The remixer is a plain callable, so that the same streaming path that users run
is what is measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semmix.cues.types import Cue, CueSegment, CueType
from semmix.errors import SemMixError, UsageError
from semmix.metrics import PUBLISHED_SCALE, at_44100, env, mag, stem_gains_db, wasserstein
from semmix.training.policy import STEMS
from semmix.training.scenes import Example, SceneGenerator, Shot
from semmix.training.stems import StemLibrary

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Remixer = Callable[[Float32, tuple[CueSegment, ...]], Float32]
"""`remix(mix [N], segments) -> [N]`, at the rate the evaluation was given."""

CONDITIONS: tuple[str, ...] = ("input", "right", "none", "swapped")
"""The muddy mix as it is, and remixed with right cues, without cues, with swapped cues."""

DISTANCES: tuple[str, ...] = ("mag", "env", "wdis")
LEVELS: tuple[str, ...] = (*(f"{stem}_db" for stem in STEMS), "level_db", "balance_db")
MEASURES: tuple[str, ...] = (*DISTANCES, *LEVELS)

MEASURE_NOTES: Mapping[str, str] = {
    "mag": "mean L1 of STFT magnitudes against the target, x100, at 44.1 kHz",
    "env": "RMS error of Hilbert envelopes against the target, x100, at 44.1 kHz",
    "wdis": "Wasserstein distance of sample values to the target's, x100, at 44.1 kHz",
    "speech_db": "distance of the speech from its level in the target, LU",
    "music_db": "distance of the music from its level in the target, LU",
    "effects_db": "distance of the effects from their level in the target, LU",
    "level_db": "mean of the stems' distances, LU",
    "balance_db": "the same after the mean error of all stems was taken out, LU",
}

MIN_DURATION_S = 1.0
MAX_DURATION_S = 600.0
MAX_CLIPS = 100_000
FAINT_DB = -40.0
"""Stems this far below the loudest of their shot are left out: nobody hears their level, and
what the mask leaves of the others would be measured instead."""

_DONORS = 200
"""Clips looked through for a picture that differs."""
_EXAMPLES_KEPT = 8
_RESAMPLES = 2_000


@dataclass(frozen=True, slots=True)
class ClipResult:
    """What was measured on one clip.

    Attributes:
        index: number of the clip for the seed.
        situations: what its shots show.
        donor: number of the clip that lent the swapped cues.
        measures: for each of `CONDITIONS` the value of each of `MEASURES`; NaN where a stem is
            silent.
        good: the measures of the remix of the target itself, which should be left alone: the
            levels are how far each stem was moved.
    """

    index: int
    situations: tuple[str, ...]
    donor: int
    measures: Mapping[str, Mapping[str, float]]
    good: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """All clips, and their means.

    Attributes:
        clips: one result a clip.
        seed, duration_s, sample_rate_hz: what determines the clips, with the stem folder.
    """

    clips: tuple[ClipResult, ...]
    seed: int
    duration_s: float
    sample_rate_hz: int

    def mean(self, condition: str, measure: str) -> float:
        """Mean of a measure over the clips that have it, NaN where none has.

        Args:
            condition: one of `CONDITIONS`, or `good`.
            measure: one of `MEASURES`.
        """
        known = [value for value in self._values(condition, measure) if not math.isnan(value)]
        return sum(known) / len(known) if known else math.nan

    def change_percent(self, condition: str, measure: str, against: str = "input") -> float:
        """Change of a mean against that of another condition, in percent; negative is better.

        NaN where the other mean is zero or unknown.
        """
        before = self.mean(against, measure)
        if math.isnan(before) or before == 0.0:
            return math.nan
        return 100.0 * (self.mean(condition, measure) / before - 1.0)

    def interval_percent(
        self, condition: str, measure: str, against: str = "input"
    ) -> tuple[float, float]:
        """95 % interval of `change_percent`, by drawing the clips again with replacement.

        What it would be with as many other clips of the same stems; seeded, so that it repeats.
        NaN for a single clip, and where the change is NaN.
        """
        pairs = np.array(
            [
                (after, before)
                for after, before in zip(
                    self._values(condition, measure), self._values(against, measure), strict=True
                )
                if not (math.isnan(after) or math.isnan(before))
            ]
        ).reshape(-1, 2)
        if len(pairs) < 2 or pairs[:, 1].sum() <= 0.0:
            return (math.nan, math.nan)
        rng = np.random.default_rng(self.seed)
        drawn = rng.integers(len(pairs), size=(_RESAMPLES, len(pairs)))
        after, before = np.moveaxis(pairs[drawn].mean(axis=1), 1, 0)
        changes = 100.0 * (after / np.maximum(before, 1e-12) - 1.0)
        low, high = np.percentile(changes, [2.5, 97.5])
        return (float(low), float(high))

    def _values(self, condition: str, measure: str) -> list[float]:
        return [
            (clip.good if condition == "good" else clip.measures[condition])[measure]
            for clip in self.clips
        ]


def evaluate(
    stems: Path,
    remix: Remixer,
    sample_rate_hz: int,
    *,
    seed: int,
    clips: int,
    duration_s: float = 10.0,
    on_clip: Callable[[int], None] | None = None,
) -> EvaluationResult:
    """Generate clips from a stem folder, remix them and measure.

    Args:
        stems: folder with `speech/`, `music/` and `effects/`, see `StemLibrary`.
        remix: what is measured.
        sample_rate_hz: rate of the clips that `remix` gets.
        seed: with the stem folder it determines the clips.
        clips: how many.
        duration_s: length of each.
        on_clip: called after each clip with the number of clips done.

    Raises:
        UsageError: a number is out of range, or `remix` returns another length.
        MediaError: the stem folder does not serve.
    """
    if not 1 <= clips <= MAX_CLIPS:
        raise UsageError(f"{clips} clips cannot be evaluated: ask for 1 to {MAX_CLIPS}")
    if not MIN_DURATION_S <= duration_s <= MAX_DURATION_S:
        raise UsageError(
            f"clips of {duration_s} s cannot be evaluated: ask for {MIN_DURATION_S:g} to "
            f"{MAX_DURATION_S:g} s"
        )
    if seed < 0:
        raise UsageError(f"the seed is {seed}: give 0 or a positive number")
    library = StemLibrary(stems, sample_rate_hz)
    generator = SceneGenerator(library, seed, duration_s, drop_cues=False)
    # A clip is drawn again as the donor of the one before it: keep the last few.
    example = lru_cache(maxsize=_EXAMPLES_KEPT)(generator.example)
    results = []
    for index in range(clips):
        results.append(_measure_clip(index, clips, example, remix, sample_rate_hz))
        if on_clip is not None:
            on_clip(index + 1)
    return EvaluationResult(tuple(results), seed, duration_s, sample_rate_hz)


def _measure_clip(
    index: int,
    clips: int,
    example: Callable[[int], Example],
    remix: Remixer,
    rate_hz: int,
) -> ClipResult:
    clip = example(index)
    donor = _donor(index, clips, example)
    cues = {
        "right": segments(clip.shots),
        "none": segments(clip.shots, lent=()),
        "swapped": segments(clip.shots, lent=example(donor).shots),
    }
    outputs = {"input": clip.mix}
    for condition, cue_segments in cues.items():
        outputs[condition] = _checked(remix(clip.mix, cue_segments), clip.mix)
    good = _checked(remix(clip.target, cues["right"]), clip.target)

    target_44100 = at_44100(clip.target, rate_hz)
    return ClipResult(
        index=index,
        situations=tuple(shot.situation for shot in clip.shots),
        donor=donor,
        measures={
            condition: _measures(output, clip, target_44100, rate_hz)
            for condition, output in outputs.items()
        },
        good=_measures(good, clip, target_44100, rate_hz),
    )


def _donor(index: int, clips: int, example: Callable[[int], Example]) -> int:
    """The next clip whose shots show none of this clip's situations.

    Goes round within the evaluated clips first, then on to clips that are not evaluated.
    """
    shown = {shot.situation for shot in example(index).shots}
    within = [(index + step) % clips for step in range(1, min(clips, _DONORS))]
    for candidate in chain(within, range(clips, clips + _DONORS)):
        if shown.isdisjoint(shot.situation for shot in example(candidate).shots):
            return candidate
    raise SemMixError(
        f"no clip with other situations than {', '.join(sorted(shown))} was found: "
        "the mixing policy has too few situations for swapped cues"
    )


def segments(shots: Sequence[Shot], lent: Sequence[Shot] | None = None) -> tuple[CueSegment, ...]:
    """Cue segments of a clip's shots.

    Args:
        shots: the clip's shots, which give the times.
        lent: shots of another clip that give the cues instead, in turn; none of them at all
            leaves every cue unknown.
    """
    result = []
    for i, shot in enumerate(shots):
        source = shot if lent is None else lent[i % len(lent)] if lent else None
        known: dict[CueType, Cue] = {}
        if source is not None:
            known = {kind: Cue(text, 1.0) for kind, text in source.cues.items() if text is not None}
        middle_s = 0.5 * (shot.start_s + shot.end_s)
        result.append(CueSegment(shot.start_s, shot.end_s, middle_s, known))
    return tuple(result)


def _checked(output: Float32, given: Float32) -> Float32:
    if output.shape != given.shape or not np.isfinite(output).all():
        raise UsageError(
            f"the remixer returned {output.shape} for {given.shape} samples, or NaN: "
            "it must return as many finite samples as it gets"
        )
    return output


def _measures(
    output: Float32, clip: Example, target_44100: Float64, rate_hz: int
) -> dict[str, float]:
    """Every one of `MEASURES` for one mix."""
    found = at_44100(output, rate_hz)
    distances = {
        "mag": PUBLISHED_SCALE * mag(target_44100, found),
        "env": PUBLISHED_SCALE * env(target_44100, found),
        "wdis": PUBLISHED_SCALE * wasserstein(target_44100, found),
    }
    return distances | _level_measures(output, clip, rate_hz)


def _level_measures(output: Float32, clip: Example, rate_hz: int) -> dict[str, float]:
    """Distances of the stems from their levels, averaged over the shots by length.

    Shot by shot, because a level that is wrong in opposite ways in two shots would look right
    over the whole clip.
    """
    errors, balances, weights = [], [], []
    for shot in clip.shots:
        part = slice(round(shot.start_s * rate_hz), round(shot.end_s * rate_hz))
        stems = clip.target_stems[:, part]
        error = stem_gains_db(output[part], stems, rate_hz)
        power = np.mean(stems.astype(np.float64) ** 2, axis=1)
        error[power < power.max() * 10.0 ** (FAINT_DB / 10.0)] = np.nan
        sounding = error[~np.isnan(error)]
        errors.append(np.abs(error))
        balances.append(
            float(np.abs(sounding - sounding.mean()).mean()) if sounding.size else math.nan
        )
        weights.append(shot.end_s - shot.start_s)
    per_stem = [_weighted_mean(column, weights) for column in np.transpose(errors)]
    return {
        **{f"{stem}_db": value for stem, value in zip(STEMS, per_stem, strict=True)},
        "level_db": _weighted_mean(per_stem, [1.0] * len(per_stem)),
        "balance_db": _weighted_mean(balances, weights),
    }


def _weighted_mean(values: Sequence[float], weights: Sequence[float]) -> float:
    """Mean of the values that are not NaN; NaN where all are."""
    known = [(v, w) for v, w in zip(values, weights, strict=True) if not math.isnan(v)]
    total = sum(w for _, w in known)
    return float(sum(v * w for v, w in known) / total) if known else math.nan
