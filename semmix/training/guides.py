"""What a remixer is told of the picture: right, nothing, or what another clip shows.

Models that stream and imported text models take timed cues; imported models also take context
vectors, one a second. What a model has no use for is no condition of its evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from semmix.cues.types import CUE_TYPES, Cue, CueSegment, CueType
from semmix.training.clips import ClipSource
from semmix.training.scenes import Shot

Float32 = NDArray[np.float32]
Guide = tuple[CueSegment, ...] | Float32
"""Cue segments, or context vectors `[K, D]` of the seconds 0, 1, ...; the last holds on."""

ALONE: Mapping[str, CueType] = {f"only_{kind.value}": kind for kind in CUE_TYPES}
"""Conditions of an ablation: right cues, but of one type alone."""
MINIMAL = "minimal"
"""Condition of an ablation where it is known: all cues, in a word or two written by hand."""


class Guides(Protocol):
    """What a remixer is told in each condition."""

    def of(self, index: int, donor: int | None) -> dict[str, Guide]:
        """Guides of a clip under the names `right`, `none` and `swapped`, those there are.

        Args:
            index: number of the clip.
            donor: number of the clip that lends its guide; None where none can.
        """
        ...

    def ablated(self, index: int) -> dict[str, Guide]:
        """Guides of an ablation under the names of its conditions."""
        ...


class CueGuides:
    """Cues of a source's clips."""

    def __init__(self, source: ClipSource) -> None:
        self._source = source

    def of(self, index: int, donor: int | None) -> dict[str, Guide]:
        """See `Guides.of`."""
        shots = self._source.shots(index)
        guides: dict[str, Guide] = {"right": segments(shots), "none": segments(shots, lent=())}
        if donor is not None:
            guides["swapped"] = segments(shots, lent=self._source.shots(donor))
        return guides

    def ablated(self, index: int) -> dict[str, Guide]:
        """Each cue type alone, and cues of a word or two where somebody wrote them."""
        shots = self._source.shots(index)
        guides: dict[str, Guide] = {
            name: segments(shots, kinds=(kind,)) for name, kind in ALONE.items()
        }
        if (minimal := self._source.minimal(index)) is not None:
            guides[MINIMAL] = segments(minimal)
        return guides


class VectorGuides:
    """Context vectors of clips.

    Without cues they are zeros, which say nothing. Published networks were not trained on those:
    the paper's row without context is a network of its own, see `NoGuides`.
    """

    def __init__(self, vectors: Callable[[int], Float32]) -> None:
        """`vectors(index)` are those of a clip, `[K, D]`."""
        self._vectors = vectors

    def of(self, index: int, donor: int | None) -> dict[str, Guide]:
        """See `Guides.of`; swapped ones are the donor's."""
        right = self._vectors(index)
        guides: dict[str, Guide] = {"right": right, "none": np.zeros_like(right)}
        if donor is not None:
            guides["swapped"] = self._vectors(donor)
        return guides

    def ablated(self, index: int) -> dict[str, Guide]:
        """None: a vector tells no cue types apart."""
        return {}


class NoGuides:
    """For models without context: all there is, is the remix without cues."""

    def of(self, index: int, donor: int | None) -> dict[str, Guide]:
        """See `Guides.of`."""
        return {"none": ()}

    def ablated(self, index: int) -> dict[str, Guide]:
        """None."""
        return {}


def segments(
    shots: Sequence[Shot],
    lent: Sequence[Shot] | None = None,
    kinds: Collection[CueType] = CUE_TYPES,
) -> tuple[CueSegment, ...]:
    """Cue segments of a clip's shots.

    Args:
        shots: the clip's shots, which give the times.
        lent: shots of another clip that give the cues instead, in turn; none of them at all
            leaves every cue unknown.
        kinds: types that are told; the others are unknown.
    """
    result = []
    for i, shot in enumerate(shots):
        source = shot if lent is None else lent[i % len(lent)] if lent else None
        known: dict[CueType, Cue] = {}
        if source is not None:
            known = {
                kind: Cue(text, 1.0)
                for kind, text in source.cues.items()
                if text is not None and kind in kinds
            }
        middle_s = 0.5 * (shot.start_s + shot.end_s)
        result.append(CueSegment(shot.start_s, shot.end_s, middle_s, known))
    return tuple(result)
