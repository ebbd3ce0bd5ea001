"""A whole sound through an engine, on the way it takes in `remix`: what comes out, and the masks.

For whoever compares engines. Chunks, state, look-ahead, cues, windows and cross-fades are those
of the streams that `remix` uses, so what is found here is what a film would get.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from semmix.cues.types import CueSegment
from semmix.errors import EngineError
from semmix.specs import WindowSpec
from semmix_rt.engines.base import Engine, State, WindowEngine
from semmix_rt.streaming import RemixStream
from semmix_rt.timeline import CueTimeline, unknown_cues
from semmix_rt.window_context import Held, HeldVectors
from semmix_rt.window_stream import WindowStream

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Heard:
    """What an engine made of a sound. NaN throughout where it gave a single number that is none.

    Attributes:
        output: the remixed sound at full amount, float32 `[C, N]`.
        mask: linear gains. Of a streaming model `[M, F]`, one row for each frame of the sound. Of
            a model of windows `[W, F, T]`, in the order of windows and, within one, of channels;
            windows of silence, which networks do not hear, are left out.
    """

    output: Float32
    mask: Float32


def masks_of(engine: Engine | WindowEngine, sound: Float32, embeddings: Float32 | None) -> Float32:
    """The masks an engine gives a sound; see `hear`."""
    return hear(engine, sound, embeddings).mask


def hear(engine: Engine | WindowEngine, sound: Float32, embeddings: Float32 | None) -> Heard:
    """Run a sound through an engine as `remix` would, at full amount and at its own level.

    Args:
        engine: of either kind.
        sound: float32 `[C, N]` at the model's rate, `N > 0`.
        embeddings: cues of `S` shots that divide the sound's time evenly: for a streaming model
            text embeddings `[S, K, E]`, for one of windows context vectors `[S, D]`. None for a
            picture of which nothing is known, or a model without context.

    Raises:
        EngineError: the engine fails; numbers that are none are a result, not a failure.
    """
    recorder: _Chunks | _Windows
    stream: RemixStream | WindowStream
    samples = sound.shape[1]
    if isinstance(engine.spec, WindowSpec):
        recorder = _Windows(engine)
        stream = _window_stream(recorder, sound, embeddings)
    else:
        recorder = _Chunks(engine)
        stream = _chunk_stream(recorder, sound, embeddings)
    try:
        output = np.concatenate((stream.push(sound), stream.finish()), axis=1)
    except EngineError:
        if recorder.finite:
            raise
        return Heard(np.full_like(sound, np.nan), np.full_like(recorder.mask(samples), np.nan))
    return Heard(output.astype(np.float32, copy=False), recorder.mask(samples))


def _chunk_stream(engine: _Chunks, sound: Float32, embeddings: Float32 | None) -> RemixStream:
    spec = engine.spec
    rate = spec.audio.sample_rate_hz
    shots = _shots(sound.shape[1] / rate, 0 if embeddings is None else len(embeddings))
    by_start = {} if embeddings is None else dict(zip(shots, embeddings, strict=True))
    timeline = CueTimeline(
        [CueSegment(start_s, end_s, start_s, {}) for start_s, end_s in shots],
        lambda segment: by_start[segment.start_s, segment.end_s],
        engine.encode_context,
        spec.max_segments,
        unknown=unknown_cues(spec),
    )
    return RemixStream(engine, timeline, rate, sound.shape[0])


def _window_stream(engine: _Windows, sound: Float32, vectors: Float32 | None) -> WindowStream:
    spec = engine.spec
    rate = spec.audio.sample_rate_hz
    context = None
    if spec.context != "none":
        shots = _shots(sound.shape[1] / rate, 0 if vectors is None else len(vectors))
        pairs = [] if vectors is None else zip(shots, vectors, strict=True)
        held = (Held(start_s, end_s, vector) for (start_s, end_s), vector in pairs)
        context = HeldVectors(held, spec.context_dim)
    return WindowStream(engine, context, rate, sound.shape[0])


def _shots(duration_s: float, count: int) -> list[tuple[float, float]]:
    """Start and end of `count` shots of equal length."""
    edges = [duration_s * i / max(1, count) for i in range(count + 1)]
    return list(pairwise(edges))


class _Chunks:
    """A streaming engine that keeps the masks it gave."""

    def __init__(self, engine: Engine) -> None:
        self.name, self.provider, self.precision = engine.name, engine.provider, engine.precision
        self.spec = engine.spec
        self.encode_context = engine.encode_context
        self.initial_state = engine.initial_state
        self.finite = True
        self._engine = engine
        self._masks: list[Float32] = []

    def run(
        self, spectrum: Float32, tokens: Float32, weights: Float32, state: State
    ) -> tuple[Float32, State]:
        mask, following = self._engine.run(spectrum, tokens, weights, state)
        self.finite &= bool(np.isfinite(mask).all())
        self._masks.append(mask[0])
        return mask, following

    def mask(self, samples: int) -> Float32:
        """Masks `[M, F]` of the frames of a sound; frames not reached keep a gain of 1."""
        spec = self.spec
        mask = np.ones((spec.stft.frames(samples), spec.stft.bins), np.float32)
        found = np.concatenate([mask[:0], *self._masks])[spec.chunk.lookahead_frames :]
        mask[: len(found)] = found[: len(mask)]
        return mask


class _Windows:
    """A window engine that keeps the masks it gave."""

    def __init__(self, engine: WindowEngine) -> None:
        self.name, self.provider, self.precision = engine.name, engine.provider, engine.precision
        self.spec = engine.spec
        self.encode_context = engine.encode_context
        self.finite = True
        self._engine = engine
        self._masks: list[Float32] = []

    def run(
        self, magnitude: Float32, waveform: Float32, tokens: Float32 | None
    ) -> tuple[Float32, Float32]:
        mask, wave = self._engine.run(magnitude, waveform, tokens)
        self.finite &= bool(np.isfinite(mask).all() and np.isfinite(wave).all())
        self._masks.append(mask[0])
        return mask, wave

    def mask(self, samples: int) -> Float32:
        """Masks `[W, F, T]` of the windows that were run."""
        none = np.zeros((0, self.spec.bins, self.spec.frames), np.float32)
        return np.stack(self._masks) if self._masks else none
