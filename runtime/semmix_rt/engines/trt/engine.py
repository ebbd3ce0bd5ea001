"""TensorRT behind the interfaces of all engines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from semmix.bundle import Bundle
from semmix.errors import EngineMismatchError
from semmix_rt.engines.base import Float32, State
from semmix_rt.engines.inputs import chunk_inputs, window_inputs
from semmix_rt.engines.trt.batches import Batch
from semmix_rt.engines.trt.library import LIBRARIES
from semmix_rt.engines.trt.opening import Opener


class CompiledEngine:
    """What engines of both kinds of models share: their plans, and what was proved of them."""

    library: ClassVar[str] = "tensorrt"

    def __init__(
        self, bundle: Bundle, *, precision: str = "fp32", batches: Sequence[Batch] = ()
    ) -> None:
        """Load what `semmix-rt build` made for this GPU; see `open_engine` for the errors.

        Args:
            bundle: the model.
            precision: of the mask network.
            batches: those of the plans to run, none for all that there are.
        """
        self.name = self.library
        self.precision = precision
        self._bundle = bundle
        self._opener = Opener(LIBRARIES[self.library], bundle)
        self.provider = self._opener.provider
        self._context = self._opener.context() if bundle.manifest.context else None
        self._highlighter = self._opener.highlighter(precision, batches)

    @classmethod
    def open(cls, bundle: Bundle, threads: int, precision: str) -> Self:
        """The engine over a bundle's networks; the GPU takes no threads."""
        return cls(bundle, precision=precision)

    @property
    def batches(self) -> tuple[Batch, ...]:
        """The batches of its plans."""
        return self._highlighter.batches

    @property
    def fallback_runs(self) -> int:
        """Runs that float32 had to take over, as the precision gave no numbers."""
        return self._highlighter.fallbacks

    @property
    def unproved(self) -> str:
        """Why a plan that it may run is not proved, as the end of a sentence; else empty."""
        return self._opener.doubt(self.precision, self.batches)

    def plan_by_plan(self) -> Iterator[Self]:
        """The same engine on each of its plans alone."""
        for batch in self.batches:
            yield type(self)(self._bundle, precision=self.precision, batches=(batch,))

    def keep_parity(self, record: Mapping[str, Any]) -> None:
        """Write beside its only plan what was found when it was held against PyTorch.

        Raises:
            EngineMismatchError: the plan was built again meanwhile.
            EngineError: the folder of plans cannot be written.
        """
        (batch,) = self.batches
        self._opener.keep_parity(self.precision, batch, record)


class TensorrtEngine(CompiledEngine):
    """Both networks of a bundle as TensorRT engines; see `Engine`.

    As many streams at once as the largest plan takes; see `semmix-rt build --batch`.

    Attributes:
        name, provider, precision, spec: see `Engine`.
    """

    def __init__(
        self, bundle: Bundle, *, precision: str = "fp32", batches: Sequence[Batch] = ()
    ) -> None:
        """See `CompiledEngine`."""
        self.spec = bundle.spec
        super().__init__(bundle, precision=precision, batches=batches)

    def encode_context(self, embeddings: Float32) -> Float32:
        """Encode the cues of `N` segments: `[N, K, E]` -> context tokens `[N, K, D]`.

        Raises:
            EngineMismatchError: the embeddings have another shape.
            EngineError: the GPU fails.
        """
        context = self._context
        assert context is not None
        encoded = [context.run({"embeddings": one[None]})["tokens"] for one in embeddings]
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


class TensorrtWindowEngine(CompiledEngine):
    """The networks of a window bundle as TensorRT engines; see `WindowEngine`.

    Attributes:
        name, provider, precision, spec: see `WindowEngine`.
    """

    def __init__(
        self, bundle: Bundle, *, precision: str = "fp32", batches: Sequence[Batch] = ()
    ) -> None:
        """See `CompiledEngine`."""
        spec = bundle.window_spec
        assert spec is not None
        self.spec = spec
        super().__init__(bundle, precision=precision, batches=batches)

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
