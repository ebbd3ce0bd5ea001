"""Clips through the product's own stream, and from where a model is told of their picture."""

from __future__ import annotations

from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from semmix_rt.cues.seconds import iter_seconds
from semmix_rt.encoders import FrameEmbedder, open_frames
from semmix_rt.hearing import check_encoders
from semmix_rt.loudness import LoudnessMeter
from semmix_rt.remixer import Remixer
from semmix_rt.window_context import Held

from semmix.bundle import Bundle
from semmix.cues.types import CueSheet
from semmix.errors import UsageError
from semmix.training.clips import ClipSource
from semmix.training.guides import CueGuides, Guide, Guides, NoGuides, VectorGuides
from semmix.training.muddymix import FRAME_S, MuddyMix
from semmix.training.muddymix_files import DURATION_S, Need

Float32 = NDArray[np.float32]

_SECONDS = round(DURATION_S / FRAME_S)
_CLIPS_KEPT = 256
"""Clips whose vectors are kept: the first of a film lends its own to all of the film before."""


class ClipRemixer:
    """Remixes clips `[N]` of one rate, each as loud as `remix` hears a film, or an excerpt of one.

    Attributes:
        engine, provider: what really runs, see `semmix_rt.Remixer`.
        encoder: identifier of what makes vectors of cues, empty where nothing does.
    """

    def __init__(self, stream: Remixer, levelled: bool, programme_lufs: float | None) -> None:
        """Take a loaded stream.

        Args:
            stream: what remixes.
            levelled: whether the model hears films at a loudness of its own.
            programme_lufs: of the programme that all clips are excerpts of; None makes each clip a
                programme of its own.
        """
        self._stream, self._levelled = stream, levelled
        self._programme_lufs = programme_lufs
        self.engine, self.provider = stream.engine, stream.provider
        self.encoder = stream.encoder

    def __call__(self, mix: Float32, guide: Guide) -> Float32:
        """The remix `[N]` of a mono mix `[N]`."""
        programme_lufs = self._programme_lufs
        if self._levelled and programme_lufs is None:
            meter = LoudnessMeter(self._stream.sample_rate_hz, 1)
            meter.push(mix[None])
            # None for silence, which comes out as it is however loud it is heard.
            programme_lufs = meter.finish().integrated_lufs
        if isinstance(guide, tuple):
            self._stream.reset(CueSheet(guide), programme_lufs=programme_lufs)
        else:
            self._stream.reset(vectors=held_seconds(guide))
        parts = (self._stream.process(mix[None]), self._stream.flush())
        return np.asarray(np.concatenate(parts, axis=1)[0], np.float32)


def open_remixer(
    model: Path | None,
    rate_hz: int,
    engine: str,
    threads: int,
    *,
    text_encoder: Path | None = None,
    takes_vectors: bool = False,
    programme_lufs: float | None = None,
) -> ClipRemixer:
    """Open a model for clips.

    Args:
        model: bundle; None for the one that comes along.
        rate_hz: of the clips.
        engine, threads, text_encoder: see `semmix_rt.Remixer`.
        takes_vectors: it will be told context vectors, not cues.
        programme_lufs: integrated loudness of the programme that the clips are excerpts of; None
            measures each clip as a programme of its own, as `remix` does with a file.

    Raises:
        UsageError: a programme's loudness for a model of windows, which hears films as they are.
        SemMixError: see `semmix_rt.Remixer`.
    """
    bundle = Bundle.default() if model is None else Bundle.load(model)
    stream = Remixer(
        rate_hz,
        1,
        model=model,
        engine=engine,
        threads=threads,
        text_encoder=text_encoder,
        vectors=() if takes_vectors else None,
        programme_lufs=programme_lufs,
    )
    return ClipRemixer(stream, bundle.window_spec is None, programme_lufs)


def need_of(bundle: Bundle, text_encoder: Path | None, vision_encoder: Path | None) -> Need:
    """What a model is told from: an encoder that was given, else the vectors of the data set.

    Raises:
        UsageError: an encoder that the model has no use for.
    """
    spec = bundle.window_spec
    kind = "stream" if spec is None else spec.context
    if text_encoder is not None or vision_encoder is not None:
        check_encoders(bundle.name, kind, text_encoder, vision_encoder)
    if kind == "none":
        return "nothing"
    if kind == "vision":
        return "vision" if vision_encoder is None else "pictures"
    return "text" if kind == "text" and text_encoder is None else "cues"


def check_generated(bundle: Bundle, need: Need) -> None:
    """Refuse models that generated clips, which have cues and no picture, cannot tell anything.

    Raises:
        UsageError: a vision model, or a text model without its encoder.
    """
    if need in ("pictures", "vision"):
        raise UsageError(
            f"the model {bundle.name!r} looks at pictures, which clips made of --stems have none "
            "of: use --muddymix"
        )
    if need == "text":
        check_encoders(bundle.name, "text", None, None)


def open_guides(
    bundle: Bundle, source: ClipSource, need: Need, vision_encoder: Path | None
) -> tuple[Guides, str]:
    """What the model is told of a source's clips, and what makes vectors of their pictures.

    Raises:
        ModelFormatError: the vision encoder is damaged or of another width.
        EngineError: what it needs is not installed.
    """
    spec = bundle.window_spec
    if need == "nothing":
        return NoGuides(), ""
    if need == "cues" or spec is None:
        return CueGuides(source), ""
    assert isinstance(source, MuddyMix)
    dim = spec.context_dim
    if vision_encoder is None:
        return VectorGuides(lambda index: source.features(index, dim)), ""
    embed = open_frames(vision_encoder, dim)

    @lru_cache(maxsize=_CLIPS_KEPT)
    def vectors(index: int) -> Float32:
        return np.stack([_vector(frame, embed) for frame in source.frames(index)[:_SECONDS]])

    return VectorGuides(vectors), embed.identifier


def held_seconds(vectors: Float32) -> list[Held]:
    """Vectors `[K, D]` of the seconds 0, 1, ... of a clip; the last holds to its end."""
    starts = FRAME_S * np.arange(len(vectors))
    ends = [*starts[1:], np.inf]
    return [Held(float(a), float(b), v) for a, b, v in zip(starts, ends, vectors, strict=True)]


def _vector(frame: Path, embed: FrameEmbedder) -> Float32:
    """The vector `[D]` of one picture file."""
    ((_, image),) = islice(iter_seconds(frame, embed.side_px), 1)
    return embed(image)
