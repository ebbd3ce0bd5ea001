"""TensorRT behind the interfaces of all engines."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from semmix.bundle import Bundle
from semmix.errors import EngineMismatchError
from semmix_rt.engines.base import Float32, State
from semmix_rt.engines.inputs import chunk_inputs, window_inputs
from semmix_rt.engines.trt.library import LIBRARIES
from semmix_rt.engines.trt.opening import Opener


class TensorrtEngine:
    """Both networks of a bundle as TensorRT engines; see `Engine`.

    As many streams at once as the largest plan takes; see `semmix-rt build --batch`.

    Attributes:
        name, provider, precision, spec: see `Engine`.
    """

    library: ClassVar[str] = "tensorrt"

    def __init__(self, bundle: Bundle, *, precision: str = "fp32") -> None:
        """Load what `semmix-rt build` made for this GPU; see `open_engine` for the errors."""
        self.name = self.library
        self.precision = precision
        self.spec = bundle.spec
        opener = Opener(LIBRARIES[self.library], bundle)
        self.provider = opener.provider
        self._context = opener.context()
        self._highlighter = opener.highlighter(precision)

    @classmethod
    def open(cls, bundle: Bundle, threads: int, precision: str) -> TensorrtEngine:
        """The engine over a bundle's networks; the GPU takes no threads."""
        return cls(bundle, precision=precision)

    @property
    def fallback_runs(self) -> int:
        """Chunks that float32 had to take over, as the precision gave no numbers."""
        return self._highlighter.fallbacks

    def encode_context(self, embeddings: Float32) -> Float32:
        """Encode the cues of `N` segments: `[N, K, E]` -> context tokens `[N, K, D]`.

        Raises:
            EngineMismatchError: the embeddings have another shape.
            EngineError: the GPU fails.
        """
        encoded = [self._context.run({"embeddings": one[None]})["tokens"] for one in embeddings]
        none = np.zeros((0, len(self.spec.cue_types), self.spec.token_dim), np.float32)
        return np.concatenate([none, *encoded])

    def initial_state(self, batch: int = 1) -> State:
        """Zero state for `batch` streams, each tensor `[B, *shape]`, float32."""
        return tuple(np.zeros((batch, *state.shape), np.float32) for state in self.spec.state)

    def run(
        self, spectrum: Float32, tokens: Float32, weights: Float32, state: State
    ) -> tuple[Float32, State]:
        """Mask one chunk of every stream; shapes and meaning as in `Engine.run`.

        Raises:
            EngineMismatchError: an array has another shape than the spec says, or there are more
                streams than any plan takes.
            EngineError: the GPU fails.
        """
        inputs = chunk_inputs(self.spec, spectrum, tokens, weights, state)
        results = self._highlighter.run(inputs)
        return results["mask"], tuple(results[f"next_{known.name}"] for known in self.spec.state)


class TensorrtRtxEngine(TensorrtEngine):
    """The same by TensorRT for RTX."""

    library = "tensorrt-rtx"


class TensorrtWindowEngine:
    """The networks of a window bundle as TensorRT engines; see `WindowEngine`.

    Attributes:
        name, provider, precision, spec: see `WindowEngine`.
    """

    library: ClassVar[str] = "tensorrt"

    def __init__(self, bundle: Bundle, *, precision: str = "fp32") -> None:
        """Load what `semmix-rt build` made for this GPU; see `open_window_engine`."""
        spec = bundle.window_spec
        assert spec is not None
        self.name = self.library
        self.precision = precision
        self.spec = spec
        opener = Opener(LIBRARIES[self.library], bundle)
        self.provider = opener.provider
        self._context = None if spec.context == "none" else opener.context()
        self._highlighter = opener.highlighter(precision)

    @classmethod
    def open(cls, bundle: Bundle, threads: int, precision: str) -> TensorrtWindowEngine:
        """The engine over a bundle's networks; the GPU takes no threads."""
        return cls(bundle, precision=precision)

    @property
    def fallback_runs(self) -> int:
        """Windows that float32 had to take over, as the precision gave no numbers."""
        return self._highlighter.fallbacks

    def encode_context(self, vectors: Float32) -> Float32:
        """Tokens `[K, D']` of a window's context vectors `[K, D]`.

        Raises:
            EngineMismatchError: vectors of another shape, or a model without context.
            EngineError: the GPU fails.
        """
        if self._context is None:
            raise EngineMismatchError(f"the model {self.spec.name!r} takes no context")
        tokens: Float32 = self._context.run({"context": vectors})["tokens"][0]
        return tokens

    def run(
        self, magnitude: Float32, waveform: Float32, tokens: Float32 | None
    ) -> tuple[Float32, Float32]:
        """Mask windows, as many at once as the largest plan takes; see `WindowEngine.run`.

        Raises:
            EngineMismatchError: an array has another shape than the spec says.
            EngineError: the GPU fails.
        """
        inputs = window_inputs(self.spec, magnitude, waveform, tokens)
        most = self._highlighter.most
        rows = [
            self._highlighter.run({name: array[i : i + most] for name, array in inputs.items()})
            for i in range(0, magnitude.shape[0], most)
        ]
        return (
            np.concatenate([row["mask"] for row in rows]),
            np.concatenate([row["wave"] for row in rows]),
        )


class TensorrtRtxWindowEngine(TensorrtWindowEngine):
    """The same by TensorRT for RTX."""

    library = "tensorrt-rtx"
