"""The one call every inference engine answers.

Engines are stateless objects over a loaded network: the caller owns the streaming state.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from semmix.specs import ModelSpec, WindowSpec

Float32 = NDArray[np.float32]
State = tuple[Float32, ...]


class Engine(Protocol):
    """A mask network behind one interface: ONNX Runtime, TensorRT, PyTorch.

    Attributes:
        name: `ort`, `torch`, `tensorrt`.
        provider: what really runs, such as `CPUExecutionProvider`.
        precision: one of `semmix.bundle.PRECISIONS`.
        spec: the network's numbers.
    """

    name: str
    provider: str
    precision: str
    spec: ModelSpec

    def encode_context(self, embeddings: Float32) -> Float32:
        """Encode the cues of `N` segments, once each.

        Args:
            embeddings: text embeddings `[N, K, E]`, K cue types in the spec's order; an
                unknown cue is a row of zeros.

        Returns:
            context tokens `[N, K, D]`.
        """
        ...

    def initial_state(self, batch: int = 1) -> State:
        """Zero state for `batch` independent streams, each tensor `[B, *shape]`."""
        ...

    def run(
        self, spectrum: Float32, tokens: Float32, weights: Float32, state: State
    ) -> tuple[Float32, State]:
        """Mask one chunk of every stream.

        Args:
            spectrum: scaled linear magnitudes `[B, T, F]`, `T = chunk.kept_frames`.
            tokens: context tokens `[B, S, K, D]` of up to `S = max_segments` cue segments.
            weights: share of each segment in each output frame, `[B, T, S]`, rows sum to 1.
                Row `t` belongs to the frame whose mask leaves at `t`, that is to the input
                frame `t - chunk.lookahead_frames`.
            state: from `initial_state` or the previous run.

        Returns:
            mask, linear gain `[B, T, F]` of the frames `chunk.lookahead_frames` earlier, and
            the next state.
        """
        ...


class WindowEngine(Protocol):
    """A network that hears whole windows of one channel, behind one interface.

    Attributes:
        name, provider, precision: see `Engine`.
        spec: the network's numbers.
    """

    name: str
    provider: str
    precision: str
    spec: WindowSpec

    def encode_context(self, vectors: Float32) -> Float32:
        """Encode a window's context vectors `[K, D]`, in the order of time.

        Returns:
            tokens `[K, D']`.
        """
        ...

    def run(
        self, magnitude: Float32, waveform: Float32, tokens: Float32 | None
    ) -> tuple[Float32, Float32]:
        """Mask windows, each for itself.

        Args:
            magnitude: unscaled magnitudes `[B, F, T]` (`semmix.dsp.windows`).
            waveform: normalised sound `[B, N]`.
            tokens: `[B, K, D']`; None for a model without context.

        Returns:
            mask, real gains `[B, F, T]`, and what to add, `[B, N]` on the normalised scale.
        """
        ...
