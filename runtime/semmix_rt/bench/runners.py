"""What is timed: one call of a network with real neighbours in time, or the transforms around it.

Every runner walks through the same sound and starts over at its end, so that all runners of one
chunk length hear the same chunk in the same repeat and can be held against each other.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from semmix.cues.trial import unit_vectors
from semmix.dsp.mask import change, linked_magnitude
from semmix.dsp.streaming import IstftStream, StftStream
from semmix.dsp.windows import analyse
from semmix.specs import ModelSpec, WindowSpec
from semmix_rt.engines.base import Engine, WindowEngine

Float32 = NDArray[np.float32]


class Runner(Protocol):
    """Something to time.

    Attributes:
        step_s: seconds of sound that one call deals with.
    """

    step_s: float

    def prepare(self, repeat: int) -> None:
        """Get ready what the call of this repeat needs; not timed."""
        ...

    def call(self) -> Float32 | None:
        """The timed call; what it gives is comparable among runners of a kind."""
        ...


class StreamRunner:
    """One chunk through a streaming network, its state fed back from call to call.

    Args:
        engine: with the network.
        sound: one channel `[N]` at the model's rate.
    """

    def __init__(self, engine: Engine, sound: Float32) -> None:
        spec = engine.spec
        self.step_s = spec.step_s
        self._engine = engine
        self._chunks = _chunks_of_magnitudes(sound, spec)
        kinds = len(spec.cue_types)
        cues = unit_vectors(spec.max_segments * kinds, spec.embedding_dim)
        cues = cues.reshape(spec.max_segments, kinds, spec.embedding_dim)
        self._tokens = np.ascontiguousarray(engine.encode_context(cues))[None]
        self._weights = np.zeros((1, spec.chunk.kept_frames, spec.max_segments), np.float32)
        self._weights[:, :, 0] = 1.0
        self._state = engine.initial_state()
        self._spectrum = self._chunks[0]

    def prepare(self, repeat: int) -> None:
        """Take this repeat's chunk."""
        self._spectrum = self._chunks[repeat % len(self._chunks)]

    def call(self) -> Float32:
        """The mask `[T, F]` of a chunk."""
        mask, self._state = self._engine.run(
            self._spectrum, self._tokens, self._weights, self._state
        )
        found: Float32 = mask[0]
        return found


class WindowRunner:
    """One window of one channel through a network that hears whole windows.

    Args:
        engine: with the network.
        sound: one channel `[N]` at the model's rate.
    """

    def __init__(self, engine: WindowEngine, sound: Float32) -> None:
        spec = engine.spec
        self.step_s = spec.step_s
        self._engine, self._spec = engine, spec
        self._sound = np.resize(sound, max(len(sound), spec.window_samples))
        self._tokens = None
        if spec.context != "none":
            vectors = unit_vectors(spec.context_vectors, spec.context_dim)
            self._tokens = engine.encode_context(vectors)[None]
        self.prepare(0)

    def prepare(self, repeat: int) -> None:
        """Analyse this repeat's window."""
        spec = self._spec
        places = (len(self._sound) - spec.window_samples) // spec.stride_samples + 1
        first = (repeat % places) * spec.stride_samples
        window = analyse(self._sound[first : first + spec.window_samples], spec)
        self._inputs = window.magnitude[None], window.waveform[None]

    def call(self) -> Float32:
        """The mask `[F, T]` of a window."""
        masks, _ = self._engine.run(*self._inputs, self._tokens)
        found: Float32 = masks[0]
        return found


class TransformRunner:
    """STFT, mask and inverse of a chunk as streams do them, without the network.

    Args:
        spec: of the network.
        sound: one channel `[N]`, heard on all channels.
        channels: number of channels.
    """

    def __init__(self, spec: ModelSpec, sound: Float32, channels: int) -> None:
        samples = spec.chunk.kept_frames * spec.stft.hop_samples
        self.step_s = spec.step_s
        self._spec, self._samples, self._channels = spec, samples, channels
        self._sound = np.resize(sound, max(len(sound), samples))
        self._forward = StftStream(spec.stft, channels)
        self._back = IstftStream(spec.stft, channels)
        self._mask = np.full((spec.chunk.kept_frames, spec.stft.bins), 1.5, np.float32)
        self.prepare(0)

    def prepare(self, repeat: int) -> None:
        """Take this repeat's samples."""
        first = (repeat % (len(self._sound) // self._samples)) * self._samples
        piece = self._sound[first : first + self._samples]
        self._block = np.repeat(piece[None], self._channels, axis=0)

    def call(self) -> None:
        """Samples in, samples out."""
        spectra = self._forward.push(self._block)
        linked_magnitude(spectra, self._spec.stft)
        self._back.push(change(spectra, self._mask[: spectra.shape[1]]))


def stream_or_window(engine: Engine | WindowEngine, sound: Float32) -> Runner:
    """The runner for the kind of network that an engine holds."""
    if isinstance(engine.spec, WindowSpec):
        return WindowRunner(engine, sound)
    return StreamRunner(engine, sound)


def _chunks_of_magnitudes(sound: Float32, spec: ModelSpec) -> list[Float32]:
    """Scaled magnitudes of a sound, cut into chunks `[1, T, F]`."""
    frames = spec.chunk.kept_frames
    needed = frames * spec.stft.hop_samples + spec.stft.n_fft
    stream = StftStream(spec.stft, 1)
    spectra = stream.push(np.resize(sound, max(len(sound), needed))[None])
    magnitude = linked_magnitude(spectra, spec.stft)
    return [
        np.ascontiguousarray(magnitude[None, first : first + frames])
        for first in range(0, len(magnitude) - frames + 1, frames)
    ]
