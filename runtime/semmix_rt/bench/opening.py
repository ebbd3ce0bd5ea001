"""Open the engine of a case."""

from __future__ import annotations

from semmix.bundle import Bundle
from semmix_rt.bench.cases import Case
from semmix_rt.engines import Engine, WindowEngine, open_engine, open_window_engine


def open_case(bundle: Bundle, case: Case, threads: int) -> Engine | WindowEngine:
    """The engine over the bundle's network in the case's precision.

    Raises:
        EngineError, ModelFormatError: see `open_engine`.
    """
    opener = open_engine if bundle.window_spec is None else open_window_engine
    return opener(bundle, case.engine, threads=threads, precision=case.precision)
