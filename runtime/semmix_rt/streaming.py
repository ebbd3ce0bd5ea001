"""The stream through the network: samples in, rebalanced samples out, in constant memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semmix.dsp.mask import change, limit_gain, linked_magnitude
from semmix.dsp.resample import ResampleStream
from semmix.dsp.streaming import IstftStream, StftStream
from semmix.errors import EngineError
from semmix_rt.dry_wet import DryWet, stream_latency
from semmix_rt.engines.base import Engine
from semmix_rt.timeline import CueTimeline

Float32 = NDArray[np.float32]
Block = NDArray[np.floating]


class RemixStream:
    """Rebalance a stream of blocks; what goes in comes out, sample for sample, later.

    Only the change is made at the model's rate and added to the untouched signal, so that
    amount 0 is exact and nothing above the model's band is lost.

    Args:
        engine: a mask network.
        timeline: which cues rule when.
        sample_rate_hz: rate of the blocks.
        channels: number of channels C.
        amount: share of the change, 0 to 1.
        max_gain_db: bound of the change either way, None for the network's own.
        level_gain_db: level at which the network hears the stream, relative to the stream's own;
            the masks act on the stream as it is.
        start_s: time of the first sample on the timeline.
    """

    def __init__(
        self,
        engine: Engine,
        timeline: CueTimeline,
        sample_rate_hz: int,
        channels: int,
        *,
        amount: float = 1.0,
        max_gain_db: float | None = None,
        level_gain_db: float = 0.0,
        start_s: float = 0.0,
    ) -> None:
        spec = engine.spec
        if spec.chunk.context_frames:
            raise EngineError(
                f"the model {spec.name!r} needs {spec.chunk.context_frames} context frames, "
                "which streams do not give: export it with streaming state"
            )
        self._engine, self._timeline, self._spec = engine, timeline, spec
        self._channels, self._amount, self._max_gain_db = channels, amount, max_gain_db
        self._start_s = start_s
        self._level = np.float32(10.0 ** (level_gain_db / 20.0))
        rate = spec.audio.sample_rate_hz
        self._up = ResampleStream(sample_rate_hz, rate, channels)
        self._down = ResampleStream(rate, sample_rate_hz, channels)
        self._stft = StftStream(spec.stft, channels)
        self._istft = IstftStream(spec.stft, channels)
        self._state = engine.initial_state()
        self._mix = DryWet(channels, amount)
        self._spectra = np.zeros((channels, 0, spec.stft.bins), np.complex64)
        self._fed = 0  # frames given to the network
        self._masked = 0  # frames whose mask came back
        self.latency_samples = stream_latency(spec.latency_samples, rate, sample_rate_hz)

    def push(self, block: Block) -> Block:
        """Take in `[C, n]` and return what is ready, `[C, m]` in the same dtype."""
        # Hosts use their buffers again while the samples wait here, or elsewhere.
        block = block.copy()
        if self._amount == 0.0:
            self._mix.push(block[:, :0])
            return block
        self._mix.push(block)
        self._take(self._stft.push(self._up.push(block.astype(np.float32, copy=False))))
        self._run_chunks()
        return self._mix.ready()

    def finish(self) -> Block:
        """End the stream and return the rest; the total out equals the total in."""
        if not self._mix.waiting:
            return self._mix.ready()
        tail = self._stft.push(self._up.finish(self._channels))
        self._take(tail)
        self._take(self._stft.finish())
        total = self._masked + self._spectra.shape[1]
        # The network is fed silence until the last frame's mask has come back.
        chunk = self._spec.chunk.kept_frames
        while self._masked < total:
            self._run(min(chunk, self._fed_available()))
        self._mix.push_change(self._down.push(self._istft.finish()))
        self._mix.push_change(self._down.finish(self._channels))
        return self._mix.finish()

    def _take(self, frames: NDArray[np.complex64]) -> None:
        self._spectra = np.concatenate((self._spectra, frames), axis=1)

    def _fed_available(self) -> int:
        """Frames that wait for the network."""
        return self._masked + self._spectra.shape[1] - self._fed

    def _run_chunks(self) -> None:
        while self._fed_available() >= self._spec.chunk.kept_frames:
            self._run(self._spec.chunk.kept_frames)

    def _run(self, count: int) -> None:
        """Feed `count` waiting frames, silence after them, and use the masks that come back."""
        spec = self._spec
        kept, lookahead = spec.chunk.kept_frames, spec.chunk.lookahead_frames
        first = self._fed - self._masked
        spectrum = np.zeros((1, kept, spec.stft.bins), np.float32)
        if count > 0:
            waiting = self._spectra[:, first : first + count]
            spectrum[0, :count] = linked_magnitude(waiting, spec.stft) * self._level
        frames = self._fed + np.arange(kept) - lookahead
        frame_s = spec.stft.hop_samples / spec.audio.sample_rate_hz
        times_s = np.asarray(self._start_s + frames * frame_s, np.float64)
        tokens, weights = self._timeline.window(times_s)
        mask, self._state = self._engine.run(spectrum, tokens[None], weights[None], self._state)
        if not np.isfinite(mask).all():
            raise EngineError(
                f"the {self._engine.name} engine gave gains that are no numbers at "
                f"{times_s[0]:.2f} s: use another engine or precision"
            )
        self._fed += kept
        # Masks of frames before the start and after the end belong to nothing.
        begin = max(0, -int(frames[0]))
        use = min(kept - begin, self._spectra.shape[1]) if begin < kept else 0
        if use <= 0:
            return
        gain = limit_gain(mask[0, begin : begin + use], self._max_gain_db)
        delta = self._istft.push(change(self._spectra[:, :use], gain))
        self._spectra = self._spectra[:, use:].copy()
        self._masked += use
        self._mix.push_change(self._down.push(delta))
