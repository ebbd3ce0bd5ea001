"""Where the tests of GPU engines build and run them: a real GPU, or a stand-in for one.

The stand-in shows on every machine that the tests themselves work; see `support_trt`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import pytest
from numpy.typing import NDArray
from semmix_export.tensorrt import build
from semmix_rt.engines import open_engine
from semmix_rt.engines.base import Engine
from semmix_rt.engines.trt.batches import ONE, Batch
from semmix_rt.engines.trt.cuda import Cuda
from semmix_rt.engines.trt.library import LIBRARIES, load
from semmix_rt.engines.trt.runner import GraphRunner
from support_trt import FakeDevice, stand_in, store

from semmix.bundle import Bundle
from semmix.errors import EngineError

Float32 = NDArray[np.float32]
STAND_IN = "stand-in"


@dataclass(frozen=True)
class Place:
    """A GPU and the library whose engines it runs.

    Attributes:
        engine: its name.
        real: whether there is a GPU behind it.
    """

    engine: str
    real: bool

    def build(self, bundle: Bundle, precisions: Sequence[str], batch: Batch = ONE) -> None:
        """Put engines where the runtime looks; fp32 comes along."""
        if self.real:
            build(bundle, self.engine, precisions=precisions, batch=batch)
            return
        if bundle.manifest.context:
            store(bundle, "context")
        for precision in dict.fromkeys(("fp32", *precisions)):
            store(bundle, "highlighter", precision, batch=batch)


def open_place(name: str, patch: pytest.MonkeyPatch) -> Place:
    """The stand-in, or a library on this machine's GPU; skips where either is missing."""
    if name == STAND_IN:
        stand_in(patch, FakeDevice())
        return Place("tensorrt-rtx", real=False)
    try:
        load(LIBRARIES[name])
        Cuda().close()
    except EngineError as exc:
        pytest.skip(str(exc))
    return Place(name, real=True)


def masks(engine: Engine, inputs: Sequence[tuple[Float32, Float32, Float32]]) -> Float32:
    """Masks `[B, n T, F]` of chunks in a row, the state carried from one to the next."""
    state = engine.initial_state(len(inputs[0][0]))
    found = []
    for spectrum, tokens, weights in inputs:
        mask, state = engine.run(spectrum, tokens, weights, state)
        found.append(mask)
    return np.concatenate(found, axis=1)


def chunks(bundle: Bundle, count: int, batch: int = 1) -> list[tuple[Float32, Float32, Float32]]:
    """Seeded noise at the level of sound, with tokens that the model's own encoder made."""
    spec, rng = bundle.spec, np.random.default_rng(5)
    frames, cues = spec.chunk.kept_frames, len(spec.cue_types)
    embeddings = rng.standard_normal((batch * spec.max_segments, cues, spec.embedding_dim))
    embeddings /= np.linalg.norm(embeddings, axis=-1, keepdims=True)
    tokens = open_engine(bundle, "ort").encode_context(embeddings.astype(np.float32))
    tokens = tokens.reshape(batch, spec.max_segments, cues, spec.token_dim)
    weights = np.full((batch, frames, spec.max_segments), 1 / spec.max_segments, np.float32)
    spectra = np.abs(0.1 * rng.standard_normal((count, batch, frames, spec.stft.bins)))
    return [(spectrum.astype(np.float32), tokens, weights) for spectrum in spectra]


def without_graphs(patch: pytest.MonkeyPatch) -> None:
    """Let runs be enqueued call by call, as where a driver cannot record them."""
    patch.setattr(GraphRunner, "_record", lambda runner, way: None)


def latency(engine: Engine, bundle: Bundle, runs: int) -> str:
    """Median and 99th percentile of one chunk's wall time, as a line to print."""
    (chunk,) = chunks(bundle, 1)
    state = engine.initial_state()
    engine.run(*chunk, state)
    took = []
    for _ in range(runs):
        started = perf_counter()
        _, state = engine.run(*chunk, state)
        took.append(1e3 * (perf_counter() - started))
    median, late = np.percentile(took, (50, 99))
    return (
        f"{engine.name} {engine.precision} on {engine.provider}: {bundle.name}, one chunk "
        f"{median:.3f} ms, p99 {late:.3f} ms over {runs} runs"
    )
