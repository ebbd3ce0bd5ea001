"""Where the time of a run goes: wall clocks for stages, and an engine that times its chunks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

import numpy as np

from semmix_rt.engines.base import Engine, Float32, State, WindowEngine


class StageClock:
    """Adds up wall time by stage; stages may come again.

    Attributes:
        seconds: wall time of each stage so far.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._started = perf_counter()

    @property
    def total_s(self) -> float:
        """Wall time since the clock was made."""
        return perf_counter() - self._started

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time spent in the `with` block."""
        started = perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + perf_counter() - started


class _Timed:
    """What both kinds of timed engines share: who runs, and how long each run took."""

    def __init__(self, engine: Engine | WindowEngine) -> None:
        self.name = engine.name
        self.provider = engine.provider
        self.precision = engine.precision
        self._timed = engine
        self._chunks_s: list[float] = []

    @contextmanager
    def _chunk(self) -> Iterator[None]:
        started = perf_counter()
        yield
        self._chunks_s.append(perf_counter() - started)

    @property
    def network_s(self) -> float:
        """Wall time of all chunks together."""
        return float(sum(self._chunks_s))

    @property
    def chunks(self) -> int:
        """Number of chunks run."""
        return len(self._chunks_s)

    @property
    def fallback_runs(self) -> int:
        """Chunks that float32 took over, of an engine that has it to turn to."""
        return getattr(self._timed, "fallback_runs", 0)

    @property
    def unproved(self) -> str:
        """Why a compiled engine is not proved, empty for others; see `semmix_rt.proof`."""
        return getattr(self._timed, "unproved", "")

    def latency_ms(self, percentile: float) -> float | None:
        """Wall time of one chunk, None before the first."""
        if not self._chunks_s:
            return None
        return 1e3 * float(np.percentile(self._chunks_s, percentile))


class TimedEngine(_Timed):
    """An engine that passes every call on and remembers how long each chunk took."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._engine = engine
        self.spec = engine.spec

    def encode_context(self, embeddings: Float32) -> Float32:
        """See `Engine.encode_context`."""
        return self._engine.encode_context(embeddings)

    def initial_state(self, batch: int = 1) -> State:
        """See `Engine.initial_state`."""
        return self._engine.initial_state(batch)

    def run(
        self, spectrum: Float32, tokens: Float32, weights: Float32, state: State
    ) -> tuple[Float32, State]:
        """See `Engine.run`."""
        with self._chunk():
            return self._engine.run(spectrum, tokens, weights, state)


class TimedWindowEngine(_Timed):
    """The same for an engine that hears whole windows."""

    def __init__(self, engine: WindowEngine) -> None:
        super().__init__(engine)
        self._engine = engine
        self.spec = engine.spec

    def encode_context(self, vectors: Float32) -> Float32:
        """See `WindowEngine.encode_context`."""
        return self._engine.encode_context(vectors)

    def run(
        self, magnitude: Float32, waveform: Float32, tokens: Float32 | None
    ) -> tuple[Float32, Float32]:
        """See `WindowEngine.run`."""
        with self._chunk():
            return self._engine.run(magnitude, waveform, tokens)
