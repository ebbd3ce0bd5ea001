"""HTDemucs, the separator that many tools embed, as a peer in benchmarks.

The architecture comes from the `demucs` package (MIT). Its weights cannot be had offline, and a
time does not depend on them: they are random, and nothing is said about quality.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from semmix.dsp.resample import ResampleStream
from semmix.errors import UsageError

Float32 = NDArray[np.float32]

_RATE_HZ = 44_100
_SOURCES = ("drums", "bass", "other", "vocals")
_SEGMENT_S = 7.8
_OVERLAP = 0.25
"""Of neighbouring segments, as `demucs` has it: what a call moves a stream on is the rest."""


class HTDemucsPeer:
    """One segment of stereo sound through HTDemucs in PyTorch eager.

    Args:
        sound: one channel `[N]`; heard on both channels, brought to the network's 44.1 kHz before
            anything is timed: a second of sound is a second for every runner.
        rate_hz: of the sound.
        threads: CPU threads of PyTorch.

    Raises:
        UsageError: the package is not installed.
    """

    def __init__(self, sound: Float32, rate_hz: int, threads: int) -> None:
        try:
            from demucs.htdemucs import HTDemucs
        except ImportError as exc:
            raise UsageError("the peer htdemucs needs demucs: pip install demucs") from exc
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self._network = HTDemucs(sources=list(_SOURCES), segment=_SEGMENT_S).eval()
        self.step_s = _SEGMENT_S * (1.0 - _OVERLAP)
        mono = np.resize(_at_rate(sound, rate_hz), round(_SEGMENT_S * _RATE_HZ))
        self._segment = torch.from_numpy(np.stack((mono, mono)))[None]

    def prepare(self, repeat: int) -> None:
        """The same segment every time."""

    @torch.inference_mode()
    def call(self) -> None:
        """Separate one segment into four sources."""
        self._network(self._segment)


def _at_rate(sound: Float32, rate_hz: int) -> Float32:
    """The sound at the network's rate."""
    stream = ResampleStream(rate_hz, _RATE_HZ, 1)
    found: Float32 = np.concatenate((stream.push(sound[None]), stream.finish(1)), axis=1)[0]
    return found
