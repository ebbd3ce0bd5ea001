"""Measure a remixer on muddy mixes whose right answer is known.

Every clip is remixed four times: with the cues of its picture, without cues, with the cues of
another clip whose picture differs, and, with its own cues, from the mix that is already right.
Where a model takes no cues, or no other picture is there to lend its own, the numbers of that
condition are unknown. An ablation adds each cue type alone and cues of a word or two. The remixer
is a plain callable, so that the same streaming path that users run is what is measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from semmix.errors import UsageError
from semmix.training.clips import ClipSource
from semmix.training.guides import CueGuides, Guide, Guides
from semmix.training.measures import DISTANCES, Yardstick, readings

Float32 = NDArray[np.float32]
Remixer = Callable[[Float32, Guide], Float32]
"""`remix(mix [N], guide) -> [N]`, at the rate the evaluation was given."""

CONDITIONS: tuple[str, ...] = ("input", "right", "none", "swapped")
"""The muddy mix as it is, and remixed with right cues, without cues, with swapped cues."""

MAX_CLIPS = 100_000

_DONORS = 200
"""Clips looked through for a picture that differs."""
_RESAMPLES = 2_000


@dataclass(frozen=True, slots=True)
class ClipResult:
    """What was measured on one clip.

    Attributes:
        index: number of the clip in its source.
        name: what the source calls it.
        situations: what its shots show.
        donor: number of the clip that lent the swapped cues, None where no clip could.
        measures: for each condition the value of each measure; NaN where it is not defined, as
            the level of a silent stem.
        good: the measures of the remix of the target itself, which should be left alone: the
            levels are how far each stem was moved.
        target: the readings of the target, which those of the remixes stand beside.
    """

    index: int
    name: str
    situations: tuple[str, ...]
    donor: int | None
    measures: Mapping[str, Mapping[str, float]]
    good: Mapping[str, float]
    target: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """All clips, and their means.

    Attributes:
        clips: one result a clip.
        seed: what the draws of `interval_percent` depend on, and generated clips as well.
        duration_s, sample_rate_hz: length and rate of the clips.
        distances: names of the distances that were measured.
    """

    clips: tuple[ClipResult, ...]
    seed: int
    duration_s: float
    sample_rate_hz: int
    distances: tuple[str, ...] = DISTANCES

    @property
    def conditions(self) -> tuple[str, ...]:
        """`CONDITIONS`, and those of an ablation where there was one."""
        return tuple(self.clips[0].measures)

    @property
    def ablated(self) -> tuple[str, ...]:
        """The conditions that an ablation added."""
        return tuple(name for name in self.conditions if name not in CONDITIONS)

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of everything that was measured."""
        return tuple(self.clips[0].good)

    def mean(self, condition: str, measure: str) -> float:
        """Mean of a measure over the clips that have it, NaN where none has.

        Args:
            condition: one of `conditions`, `good` or, for readings, `target`.
            measure: one of `measures`.
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
        return [clip_values(clip)[condition][measure] for clip in self.clips]


def clip_values(clip: ClipResult) -> dict[str, Mapping[str, float]]:
    """All numbers of a clip: those of each condition, of `good` and of `target`."""
    return {**clip.measures, "good": clip.good, "target": clip.target}


def evaluate(
    source: ClipSource,
    remix: Remixer,
    *,
    seed: int,
    clips: int,
    yardstick: Yardstick | None = None,
    guides: Guides | None = None,
    ablate: bool = False,
    on_clip: Callable[[int], None] | None = None,
) -> EvaluationResult:
    """Remix clips and measure.

    Args:
        source: where the clips come from.
        remix: what is measured.
        seed: seed of the intervals.
        clips: how many, from the first one.
        yardstick: what is measured; the measures that need no model by default.
        guides: what the remixer is told; the clips' cues by default.
        ablate: also remix with what else the guides have to tell.
        on_clip: called after each clip with the number of clips done.

    Raises:
        UsageError: `clips` is out of range, or `remix` returns another length.
        MediaError: a clip cannot be read.
    """
    most = MAX_CLIPS if source.count is None else min(MAX_CLIPS, source.count)
    if not 1 <= clips <= most:
        raise UsageError(f"{clips} clips cannot be evaluated: ask for 1 to {most}")
    stick = yardstick or Yardstick(source.sample_rate_hz)
    told = guides or CueGuides(source)
    results = []
    for index in range(clips):
        donor = _donor(index, clips, source)
        results.append(_measure_clip(index, donor, source, remix, stick, told, ablate))
        if on_clip is not None:
            on_clip(index + 1)
    return EvaluationResult(
        tuple(results), seed, source.duration_s, source.sample_rate_hz, stick.distances
    )


def _measure_clip(
    index: int,
    donor: int | None,
    source: ClipSource,
    remix: Remixer,
    stick: Yardstick,
    guides: Guides,
    ablate: bool,
) -> ClipResult:
    clip = source.clip(index)
    told = guides.of(index, donor)
    conditions = told | guides.ablated(index) if ablate else told
    outputs = {"input": clip.mix}
    for condition, guide in conditions.items():
        outputs[condition] = _checked(remix(clip.mix, guide), clip.mix)
    own = told.get("right", told["none"])
    outputs["good"] = _checked(remix(clip.target, own), clip.target)
    found = stick.measure(outputs, clip)
    good = found.pop("good")
    unknown = dict.fromkeys(good, math.nan)
    return ClipResult(
        index=index,
        name=clip.name,
        situations=source.situations(index),
        donor=donor if "swapped" in told else None,
        measures=dict.fromkeys(CONDITIONS, unknown) | found,
        good=good,
        target=readings(clip.target, clip, stick.rate_hz),
    )


def _donor(index: int, clips: int, source: ClipSource) -> int | None:
    """The next clip whose shots show none of this clip's situations, None where none was found.

    Goes round within the evaluated clips first, then on to clips that are not evaluated.
    """
    shown = set(source.situations(index))
    within = [(index + step) % clips for step in range(1, min(clips, _DONORS))]
    beyond = clips + _DONORS if source.count is None else source.count
    for candidate in chain(within, range(clips, beyond)):
        if shown.isdisjoint(source.situations(candidate)):
            return candidate
    return None


def _checked(output: Float32, given: Float32) -> Float32:
    if output.shape != given.shape or not np.isfinite(output).all():
        raise UsageError(
            f"the remixer returned {output.shape} for {given.shape} samples, or NaN: "
            "it must return as many finite samples as it gets"
        )
    return output
