"""How fast two graphs run here: the only ground on which one is called faster."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from semmix_rt.engines.ort import open_session

from semmix_calibration.ranges import Feeds

_CPU = "CPUExecutionProvider"
_REPEATS = 7


def speed_ratio(reference: bytes, other: bytes, runs: Sequence[Feeds], threads: int = 1) -> float:
    """How many times as fast as `reference` another graph runs in ONNX Runtime on this CPU.

    Both take turns, and the best time of each counts: a busy machine only ever slows down.

    Args:
        reference, other: ONNX with the same inputs.
        runs: inputs of one run each, at least one.
        threads: CPU threads.
    """
    sessions = [open_session(content, _CPU, threads) for content in (reference, other)]
    best = [float("inf")] * 2
    feeds = dict(runs[len(runs) // 2])
    for repeat in range(_REPEATS + 1):
        for i, session in enumerate(sessions):
            started = perf_counter()
            session.run(None, feeds)
            if repeat:  # the first run only warms up
                best[i] = min(best[i], perf_counter() - started)
    return best[0] / best[1]
