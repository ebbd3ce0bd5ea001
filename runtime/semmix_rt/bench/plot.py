"""A benchmark as a picture: every single call, so that a spread or a drift shows."""

from __future__ import annotations

import numpy as np

from semmix.pictures import new_figure, png_bytes
from semmix_rt.bench.result import BenchResult

_WIDTH_INCHES, _ROW_INCHES = 9.0, 0.42


def draw_png(result: BenchResult) -> bytes:
    """A PNG: a row for each case, milliseconds of every call, medians and 95th percentiles.

    Raises:
        UsageError: Matplotlib is not installed.
    """
    rows = [(c.case.label, c.latency, c.ratio_to_torch) for c in result.cases]
    rows += [(e.name, e.latency, None) for e in result.extras]
    figure = new_figure(_WIDTH_INCHES, 1.6 + _ROW_INCHES * len(rows))
    panel = figure.subplots()
    # Seeded, so that one benchmark always gives one picture.
    spread = np.random.default_rng(0)
    for place, (_, latency, _) in enumerate(rows):
        walls_ms = 1e3 * np.array(latency.walls_s)
        shift = spread.uniform(-0.25, 0.25, len(walls_ms))
        panel.scatter(walls_ms, place + shift, s=7, alpha=0.45, color=f"C{place % 10}")
        panel.plot([latency.percentile_ms(50)] * 2, [place - 0.4, place + 0.4], color="black")
        panel.plot(
            [latency.percentile_ms(95)] * 2, [place - 0.3, place + 0.3], color="black", ls=":"
        )
    labels = [
        name if ratio is None else f"{name}\n{ratio:.2f}x PyTorch eager" for name, _, ratio in rows
    ]
    panel.set_yticks(range(len(rows)), labels, fontsize=8)
    panel.invert_yaxis()
    panel.set_xscale("log")
    panel.set_xlabel("milliseconds a call; line: median, dotted: 95th percentile")
    panel.grid(axis="x", which="both", alpha=0.3)
    cpu = result.machine["cpu"]["name"]
    panel.set_title(f"{result.model}, {cpu}, threads: {result.machine['threads']}", fontsize=10)
    return png_bytes(figure)
