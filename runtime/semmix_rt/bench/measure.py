"""Turn about: every repeat times every runner once, so that a machine that slows down slows all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from semmix_rt.bench.runners import Runner

Float32 = NDArray[np.float32]

ENOUGH_S, ENOUGH_CALLS = 30.0, 5
"""A runner that has been timed for so long and so often need not be again: medians of calls that
take seconds are known by then."""


def interleaved(
    runners: Mapping[str, Runner],
    repeats: int,
    warm_up: int,
    on_repeat: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[dict[str, list[float]], dict[str, list[Float32]]]:
    """Wall times of every call by label, and what the timed calls gave.

    Each repeat has an order of its own, the same in every run: nobody always runs after the same
    neighbour, whose work may have warmed the caches for one or chilled them for another.

    Args:
        runners: what to time, by label.
        repeats: timed calls of each, fewer of those that take seconds.
        warm_up: calls before, not timed.
        on_repeat: told after each round how many of how many are done.

    Returns:
        seconds, and the outputs of the last timed call, each by label.
    """
    walls_s: dict[str, list[float]] = {label: [] for label in runners}
    outputs: dict[str, list[Float32]] = {label: [] for label in runners}
    labels = list(runners)
    for repeat in range(warm_up + repeats):
        for label in Random(repeat).sample(labels, len(labels)):
            runner, walls = runners[label], walls_s[label]
            if len(walls) >= ENOUGH_CALLS and sum(walls) >= ENOUGH_S:
                continue
            runner.prepare(repeat)
            started = perf_counter()
            output = runner.call()
            wall_s = perf_counter() - started
            if repeat < warm_up:
                continue
            walls.append(wall_s)
            if output is not None:
                outputs[label] = [output]
        on_repeat(repeat + 1, warm_up + repeats)
    return walls_s, outputs
