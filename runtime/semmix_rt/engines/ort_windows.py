"""ONNX Runtime for networks that hear whole windows, on the CPU or a named GPU provider."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np

from semmix.bundle import Bundle
from semmix.errors import EngineMismatchError
from semmix.specs import WindowSpec
from semmix_rt.engines.base import Float32
from semmix_rt.engines.inputs import graph_shapes, window_inputs
from semmix_rt.engines.ort import Axes, check_graph, feed, graph_axes, open_session, run_graph
from semmix_rt.engines.ort_placement import TENSORRT
from semmix_rt.engines.ort_records import RecordedHere


class OrtWindowEngine:
    """The networks of a window bundle as ONNX Runtime sessions; see `WindowEngine`."""

    engine_name: ClassVar[str] = "ort"
    requested_provider: ClassVar[str] = "CPUExecutionProvider"
    one_by_one: ClassVar[bool] = False
    """Whether windows are run each for itself."""

    def __init__(
        self,
        spec: WindowSpec,
        context: bytes | None,
        highlighter: bytes,
        *,
        precision: str = "fp32",
        threads: int = 1,
        where: str = "the model",
    ) -> None:
        """Load the networks.

        Args:
            spec: their numbers.
            context: ONNX of the context encoder, None for a model without context.
            highlighter: ONNX of the mask network.
            precision: its precision.
            threads: CPU threads of one call.
            where: what messages call the model.

        Raises:
            EngineError: a graph is damaged.
            EngineMismatchError: a graph does not fit the spec.
            ProviderError: the provider does not run them; see `open_session`.
        """
        self.name = self.engine_name
        self.provider = self.requested_provider
        self.spec = spec
        self.precision = precision
        self._context = None
        if context is not None:
            self._context = open_session(context, self.provider, threads)
            check_graph(
                self._context,
                graph_axes(spec, "context"),
                {"tokens": (1, spec.context_vectors, spec.token_dim)},
                f"the context graph of {where}",
            )
        self._highlighter = open_session(highlighter, self.provider, threads, precision)
        inputs = graph_axes(spec, "highlighter")
        outputs: dict[str, Axes] = {
            "mask": (None, spec.bins, spec.frames),
            "wave": (None, spec.window_samples),
        }
        check_graph(self._highlighter, inputs, outputs, f"the mask graph of {where}")

    @classmethod
    def open(cls, bundle: Bundle, threads: int, precision: str) -> Self:
        """The engine over a bundle's networks, with `threads` CPU threads."""
        spec = bundle.window_spec
        assert spec is not None
        context = None if spec.context == "none" else bundle.context_graph()
        return cls(
            spec,
            context,
            bundle.highlighter_graph(precision),
            precision=precision,
            threads=threads,
            where=str(bundle.path),
        )

    def encode_context(self, vectors: Float32) -> Float32:
        """Tokens `[K, D']` of a window's context vectors `[K, D]`.

        Raises:
            EngineMismatchError: vectors of another shape, or a model without context.
            EngineError: ONNX Runtime fails.
        """
        if self._context is None:
            raise EngineMismatchError(f"the model {self.spec.name!r} takes no context")
        axes = (self.spec.context_vectors, self.spec.context_dim)
        feeds = {"context": feed("context", vectors, axes)}
        tokens: Float32 = run_graph(self._context, ["tokens"], feeds)[0][0]
        return tokens

    def run(
        self, magnitude: Float32, waveform: Float32, tokens: Float32 | None
    ) -> tuple[Float32, Float32]:
        """Mask windows; shapes and meaning as in `WindowEngine.run`.

        Raises:
            EngineMismatchError: an array has another shape than the spec says.
            EngineError: ONNX Runtime fails.
        """
        inputs = window_inputs(self.spec, magnitude, waveform, tokens)
        shapes = graph_shapes(self.spec, "highlighter", magnitude.shape[0])
        feeds = {name: feed(name, array, shapes[name]) for name, array in inputs.items()}
        windows = magnitude.shape[0] if self.one_by_one else 1
        split = zip(*(np.array_split(array, windows) for array in feeds.values()), strict=True)
        pieces = [dict(zip(feeds, arrays, strict=True)) for arrays in split]
        found = [run_graph(self._highlighter, ["mask", "wave"], piece) for piece in pieces]
        mask, wave = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return mask, wave


class _OfBundle(RecordedHere, OrtWindowEngine):
    """An engine on a GPU provider, which knows the bundle that its record is about."""

    @classmethod
    def open(cls, bundle: Bundle, threads: int, precision: str) -> Self:
        """See `OrtWindowEngine.open`."""
        engine = super().open(bundle, threads, precision)
        engine.bundle = bundle
        return engine


class OrtCudaWindowEngine(_OfBundle):
    """The same networks on ONNX Runtime's CUDA provider."""

    engine_name = "ort-cuda"
    requested_provider = "CUDAExecutionProvider"


class OrtTensorrtWindowEngine(_OfBundle):
    """The same networks on ONNX Runtime's TensorRT provider, each compiled for a single window."""

    engine_name = "ort-tensorrt"
    requested_provider = TENSORRT
    one_by_one = True
