"""Small engines whose masks are known, timelines of plain numbers, and a player of blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from semmix_rt.engines.base import Engine
from semmix_rt.streaming import RemixStream
from semmix_rt.timeline import CueTimeline, unknown_cues
from support_engine import TINY_SPEC
from support_signal import pieces, reference_istft, reference_stft

from semmix.cues.types import CueSegment
from semmix.specs import ModelSpec, StateSpec

Float32 = NDArray[np.float32]
Rule = Callable[[Float32, Float32], NDArray]
"""Magnitudes `[T, F]` and the cues' value `[T]` of the same frames to gains `[T, F]`."""


class RuleEngine:
    """Masks each frame by a rule, and waits the look-ahead before it answers."""

    name, provider, precision = "rule", "none", "fp32"

    def __init__(
        self,
        rule: Rule,
        kept_frames: int = 4,
        lookahead_frames: int = 1,
        spec: ModelSpec = TINY_SPEC,
    ) -> None:
        self.spec = replace(
            spec,
            chunk=replace(spec.chunk, kept_frames=kept_frames, lookahead_frames=lookahead_frames),
            state=(StateSpec("heard", (lookahead_frames, spec.stft.bins)),),
        )
        self._rule = rule

    def encode_context(self, embeddings: Float32) -> Float32:
        return embeddings[..., : self.spec.token_dim]

    def initial_state(self, batch: int = 1) -> tuple[Float32, ...]:
        return tuple(np.zeros((batch, *s.shape), np.float32) for s in self.spec.state)

    def run(
        self, spectrum: Float32, tokens: Float32, weights: Float32, state: tuple[Float32, ...]
    ) -> tuple[Float32, tuple[Float32, ...]]:
        frames = self.spec.chunk.kept_frames
        heard = np.concatenate((state[0], spectrum), axis=1)
        value = weights[0] @ tokens[0, :, 0, 0]
        mask = np.broadcast_to(self._rule(heard[0, :frames], value), spectrum.shape[1:])
        return mask[None].astype(np.float32), (heard[:, frames:],)


def constant(gain: float) -> Rule:
    return lambda magnitude, value: np.full(magnitude.shape, gain)


def by_cue(magnitude: Float32, value: Float32) -> NDArray:
    """The cues' value is the gain, at all frequencies."""
    return np.broadcast_to(value[:, None], magnitude.shape)


def by_level(magnitude: NDArray, value: NDArray) -> NDArray:
    """Gains between 0.2 and 2 that differ from bin to bin and follow the level at once."""
    tilt = np.linspace(0.5, 1.0, magnitude.shape[1])
    return 0.2 + 1.8 * tilt * magnitude / (magnitude + 0.05)


def cue(start_s: float, end_s: float) -> CueSegment:
    return CueSegment(start_s, end_s, start_s, {})


def timeline(
    spec: ModelSpec,
    cues: Iterable[tuple[float, float, float]] = (),
    encode_context: Callable[[Float32], Float32] | None = None,
    *,
    ramp_s: float = 0.2,
    max_segments: int | None = None,
) -> CueTimeline:
    """Segments `(start_s, end_s, value)` with embeddings of that value; unknown is 0.

    Without an encoder of context the tokens are that value as well.
    """
    rows = list(cues)
    values = {start_s: value for start_s, _, value in rows}
    shape = (len(spec.cue_types), spec.embedding_dim)
    return CueTimeline(
        (cue(start_s, end_s) for start_s, end_s, _ in rows),
        lambda segment: np.full(shape, values[segment.start_s], np.float32),
        encode_context or (lambda embeddings: embeddings[..., : spec.token_dim]),
        max_segments or spec.max_segments,
        ramp_s,
        unknown=unknown_cues(spec),
    )


def open_stream(
    engine: Engine,
    rate_hz: int = 16_000,
    channels: int = 2,
    cues: Sequence[tuple[float, float, float]] = (),
    *,
    ramp_s: float = 0.2,
    **settings: float | None,
) -> RemixStream:
    asked = timeline(engine.spec, cues, engine.encode_context, ramp_s=ramp_s)
    return RemixStream(engine, asked, rate_hz, channels, **settings)  # type: ignore[arg-type]


def play(stream: RemixStream, x: NDArray, cut: int | str = "whole", seed: int = 0) -> NDArray:
    """What comes out for `x` cut into blocks."""
    parts = [stream.push(x[:, piece]) for piece in pieces(x.shape[1], cut, seed)]
    return np.concatenate([*parts, stream.finish()], axis=1)


def whole_signal(
    x: NDArray, spec: ModelSpec, gains: Callable[[NDArray, NDArray], NDArray], amount: float = 1.0
) -> NDArray[np.float64]:
    """The method over the whole signal at once at the model's rate, in float64.

    `gains` makes `[M, F]` of magnitudes `[M, F]` and the frames' times `[M]`.
    """
    spectrum = reference_stft(x, spec.stft)
    magnitude = np.sqrt(np.mean(np.abs(spectrum) ** 2, axis=0)) * 4.0 / spec.stft.n_fft
    times_s = np.arange(len(magnitude)) * spec.stft.hop_samples / spec.audio.sample_rate_hz
    added = (gains(magnitude, times_s) - 1.0) * spectrum
    return x + amount * reference_istft(added, spec.stft, x.shape[1])
