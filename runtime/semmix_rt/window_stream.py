"""The stream through a network that hears whole windows: each channel for itself, in overlapping
windows of which only the inner parts are kept."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from semmix.dsp.resample import ResampleStream
from semmix.dsp.windows import analyse, synthesise
from semmix.errors import EngineError
from semmix_rt.dry_wet import DryWet, stream_latency
from semmix_rt.engines.base import WindowEngine

Float32 = NDArray[np.float32]
Block = NDArray[np.floating]


class ContextVectors(Protocol):
    """What the picture says, as vectors."""

    def at(self, times_s: NDArray[np.float64]) -> Float32:
        """Context vectors `[K, D]` at ascending times `[K]`.

        Later calls ask for nothing before the first time of earlier ones.
        """
        ...


class WindowStream:
    """Rebalance a stream of blocks; what goes in comes out, sample for sample, later.

    Windows are laid out by `WindowSpec`. The first one is kept from its beginning; the last one is
    moved to end with the sound, so that every window but that of a shorter sound is full, and is
    kept to its end. Only the change is made at the model's rate and added to the untouched signal,
    so that amount 0 is exact and nothing above the model's band is lost.

    Args:
        engine: a mask network.
        context: its context vectors; None for a model without context.
        sample_rate_hz: rate of the blocks.
        channels: number of channels C.
        amount: share of the change, 0 to 1.
        start_s: time of the first sample on the context's timeline.
    """

    def __init__(
        self,
        engine: WindowEngine,
        context: ContextVectors | None,
        sample_rate_hz: int,
        channels: int,
        *,
        amount: float = 1.0,
        start_s: float = 0.0,
    ) -> None:
        self._engine, self._context, self._spec = engine, context, engine.spec
        self._channels, self._amount, self._start_s = channels, amount, start_s
        rate = self._spec.audio.sample_rate_hz
        self._up = ResampleStream(sample_rate_hz, rate, channels)
        self._down = ResampleStream(rate, sample_rate_hz, channels)
        self._mix = DryWet(channels, amount)
        self._heard: list[Float32] = []
        self._begin = 0  # of the first sample heard that is still here
        self._end = 0  # of all that was heard
        self._next = 0  # start of the next window
        self._made = 0  # samples whose change is settled
        self._tail = np.zeros((channels, 0), np.float32)
        self.latency_samples = stream_latency(self._spec.latency_samples, rate, sample_rate_hz)

    def push(self, block: Block) -> Block:
        """Take in `[C, n]` and return what is ready, `[C, m]` in the same dtype."""
        # Hosts use their buffers again while the samples wait here, or elsewhere.
        block = block.copy()
        if self._amount == 0.0:
            self._mix.push(block[:, :0])
            return block
        self._mix.push(block)
        self._hear(self._up.push(block.astype(np.float32, copy=False)))
        self._run_full()
        return self._mix.ready()

    def finish(self) -> Block:
        """End the stream and return the rest; the total out equals the total in."""
        if not self._mix.waiting:
            return self._mix.ready()
        self._hear(self._up.finish(self._channels))
        self._run_full()
        if self._end:
            self._run(max(0, self._end - self._spec.window_samples), last=True)
        self._mix.push_change(self._down.finish(self._channels))
        return self._mix.finish()

    def _hear(self, sound: Float32) -> None:
        if sound.shape[1]:
            self._heard.append(sound)
            self._end += sound.shape[1]

    def _run_full(self) -> None:
        """Run the windows that are known not to be the last: sound goes on behind them."""
        while self._end > self._next + self._spec.window_samples:
            self._run(self._next, last=False)
            self._next += self._spec.stride_samples

    def _run(self, start: int, *, last: bool) -> None:
        """Run the window from sample `start` on and settle the change up to its inner end."""
        spec = self._spec
        change = self._change(self._window(start), start)[:, self._made - start :]
        fade = self._tail.shape[1]
        share = (np.arange(fade, dtype=np.float32) + np.float32(0.5)) / np.float32(max(1, fade))
        change[:, :fade] = self._tail + share * (change[:, :fade] - self._tail)
        if last:
            settled = self._end - self._made
        else:
            settled = start + spec.edge_samples + spec.stride_samples - self._made
        self._tail = change[:, settled : settled + spec.fade_samples].copy()
        self._made += settled
        self._mix.push_change(self._down.push(change[:, :settled]))

    def _window(self, start: int) -> Float32:
        """The window `[C, N]` from sample `start` on; what lies before it is forgotten.

        A sound shorter than a window is mirrored at its end, which keeps the level that the
        network normalises by.
        """
        heard = np.concatenate(self._heard, axis=1)[:, start - self._begin :]
        self._heard, self._begin = [heard], start
        length = self._spec.window_samples
        missing = length - heard.shape[1]
        return (
            np.pad(heard, ((0, 0), (0, missing)), "symmetric") if missing > 0 else heard[:, :length]
        )

    def _change(self, window: Float32, start: int) -> Float32:
        """What the network changes of a window `[C, N]`, `[C, N]`."""
        spec = self._spec
        at_s = self._start_s + start / spec.audio.sample_rate_hz
        tokens = self._tokens(at_s)
        change = np.zeros_like(window)
        for channel, sound in zip(change, window, strict=True):
            if not sound.any():
                # Whatever its mask, silence stays silence.
                continue
            analysis = analyse(sound, spec)
            mask, wave = self._engine.run(analysis.magnitude[None], analysis.waveform[None], tokens)
            if not (np.isfinite(mask).all() and np.isfinite(wave).all()):
                raise EngineError(
                    f"the {self._engine.name} engine gave a mask or sound that is no number in the "
                    f"window at {at_s:.2f} s: use another engine or model"
                )
            channel[:] = synthesise(analysis, mask[0], wave[0], spec) - sound
        return change

    def _tokens(self, at_s: float) -> Float32 | None:
        """Context tokens `[1, K, D']` of the window that starts at a time."""
        if self._context is None:
            return None
        spec = self._spec
        step_s = spec.window_samples / spec.audio.sample_rate_hz / spec.context_vectors
        times_s = at_s + step_s * np.arange(spec.context_vectors, dtype=np.float64)
        vectors = self._context.at(np.asarray(times_s, np.float64))
        return self._engine.encode_context(vectors)[None]
