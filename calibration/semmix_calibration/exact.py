"""Engines that run a graph exactly as it is written, and tell what they were fed.

`semmix-rt verify` finds them by entry point, for precisions that are bound for GPUs: what ONNX
Runtime's own kernels for CPUs make of these says nothing of a GPU, see `sessions`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from semmix_rt.engines import open_engine, open_window_engine
from semmix_rt.engines.base import Engine, State, WindowEngine
from semmix_rt.engines.inputs import chunk_inputs, window_inputs

from semmix.bundle import Bundle
from semmix.specs import ModelSpec, WindowSpec
from semmix_calibration.ranges import Feeds
from semmix_calibration.sessions import exact_session

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Float32 = NDArray[np.float32]
Listener: TypeAlias = Callable[[Feeds], None]
AnyEngine: TypeAlias = "ExactEngine | ExactWindowEngine"


def _nobody(feeds: Feeds) -> None:
    pass


class ExactEngine:
    """A streaming mask network; the calls of `semmix_rt.engines.base.Engine`."""

    name = "ort-exact"
    provider = "CPUExecutionProvider"

    def __init__(
        self,
        spec: ModelSpec,
        context: Engine,
        session: InferenceSession,
        precision: str,
        listener: Listener,
    ) -> None:
        self.spec = spec
        self.precision = precision
        self.encode_context = context.encode_context
        self.initial_state = context.initial_state
        self._session = session
        self._outputs = ["mask", *(f"next_{state.name}" for state in spec.state)]
        self._listener = listener

    def run(
        self, spectrum: Float32, tokens: Float32, weights: Float32, state: State
    ) -> tuple[Float32, State]:
        """Mask one chunk; see the protocol."""
        inputs = chunk_inputs(self.spec, spectrum, tokens, weights, state)
        feeds = {name: np.asarray(array, np.float32) for name, array in inputs.items()}
        self._listener(feeds)
        mask, *following = self._session.run(self._outputs, feeds)
        return mask, tuple(following)


class ExactWindowEngine:
    """A network that hears whole windows; the calls of `semmix_rt.engines.base.WindowEngine`."""

    name = "ort-exact"
    provider = "CPUExecutionProvider"

    def __init__(
        self,
        spec: WindowSpec,
        context: WindowEngine,
        session: InferenceSession,
        precision: str,
        listener: Listener,
    ) -> None:
        self.spec = spec
        self.precision = precision
        self.encode_context = context.encode_context
        self._session = session
        self._listener = listener

    def run(
        self, magnitude: Float32, waveform: Float32, tokens: Float32 | None
    ) -> tuple[Float32, Float32]:
        """Mask windows; see the protocol."""
        inputs = window_inputs(self.spec, magnitude, waveform, tokens)
        feeds = {name: np.asarray(array, np.float32) for name, array in inputs.items()}
        self._listener(feeds)
        mask, wave = self._session.run(["mask", "wave"], feeds)
        return mask, wave


class ExactEngines:
    """Makes exact engines over graphs of one bundle's mask network.

    The context encoder, which stays in float32, is opened once.

    Args:
        bundle: the model.
        threads: CPU threads of a run.

    Raises:
        EngineError: ONNX Runtime is not installed or does not take a graph.
    """

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        self.spec = bundle.manifest.spec
        self._threads = threads
        self._context: Engine | WindowEngine
        if isinstance(self.spec, WindowSpec):
            self._context = open_window_engine(bundle, "ort", threads=threads)
        else:
            self._context = open_engine(bundle, "ort", threads=threads)

    def open(
        self, content: bytes, precision: str = "fp32", listener: Listener = _nobody
    ) -> AnyEngine:
        """An engine over a graph.

        Args:
            content: ONNX of the mask network in any precision.
            precision: what it is called.
            listener: is told the inputs of each run.
        """
        spec, context = self.spec, self._context
        session = exact_session(content, self._threads)
        if isinstance(spec, WindowSpec):
            assert not isinstance(context.spec, ModelSpec)
            return ExactWindowEngine(spec, context, session, precision, listener)
        return ExactEngine(spec, context, session, precision, listener)  # type: ignore[arg-type]


def open_exact(bundle: Bundle, threads: int, precision: str) -> AnyEngine:
    """A bundle's networks in a precision it holds; the call of engines' entry points.

    Raises:
        EngineError: ONNX Runtime does not take a graph.
        ModelFormatError: the bundle lacks the precision, or the graph is damaged.
    """
    content = bundle.highlighter_graph(precision)
    return ExactEngines(bundle, threads).open(content, precision)
