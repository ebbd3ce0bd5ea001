"""An evaluation as plain values for JSON, and as the rows of a CSV file."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

from semmix.training.evaluate import ALONE, MINIMAL, EvaluationResult, clip_values
from semmix.training.measures import MEASURE_NOTES, READINGS

TITLES = {
    "input": "spoiled mix",
    "right": "right cues",
    "none": "no cues",
    "swapped": "swapped cues",
    "good": "good mix in",
    "target": "target",
    MINIMAL: "minimal cues",
    **{name: f"only {kind.value.replace('_', ' ')}" for name, kind in ALONE.items()},
}
"""What people read instead of a condition's name."""


def comparisons(result: EvaluationResult) -> tuple[tuple[str, str], ...]:
    """Which conditions are held against which; those of an ablation against no cues as well."""
    plain = (("right", "input"), ("none", "input"), ("right", "none"), ("right", "swapped"))
    ablated = [(name, other) for name in result.ablated for other in ("input", "none")]
    minimal = [("right", name) for name in result.ablated if name == MINIMAL]
    return (*plain, *ablated, *minimal)


def as_dict(result: EvaluationResult) -> dict[str, Any]:
    """Plain values for JSON: settings, means, changes in percent, every clip. NaN is null."""
    return {
        "seed": result.seed,
        "duration_s": result.duration_s,
        "sample_rate_hz": result.sample_rate_hz,
        "measures": {m: MEASURE_NOTES[m] for m in result.measures},
        "mean": {
            condition: {m: _number(result.mean(condition, m)) for m in result.measures}
            for condition in (*result.conditions, "good")
        }
        | {"target": {m: _number(result.mean("target", m)) for m in READINGS}},
        "change_percent": {
            f"{condition} against {against}": {
                m: _number(result.change_percent(condition, m, against)) for m in result.distances
            }
            for condition, against in comparisons(result)
        },
        "interval_95_percent": {
            f"{condition} against {against}": {
                m: [_number(v) for v in result.interval_percent(condition, m, against)]
                for m in result.distances
            }
            for condition, against in comparisons(result)
        },
        "clips": [
            {
                "index": clip.index,
                "name": clip.name,
                "situations": list(clip.situations),
                "donor": clip.donor,
                "measures": {
                    condition: {m: _number(v) for m, v in values.items()}
                    for condition, values in clip_values(clip).items()
                },
            }
            for clip in result.clips
        ],
    }


def as_csv(result: EvaluationResult) -> str:
    """One row a clip, one column for each condition and measure; unknown values are empty."""
    columns = [
        (condition, measure)
        for condition, values in clip_values(result.clips[0]).items()
        for measure in values
    ]
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("index", "name", "situations", "donor", *(f"{c}_{m}" for c, m in columns)))
    for clip in result.clips:
        values = clip_values(clip)
        numbers = (_number(values[c][m]) for c, m in columns)
        cells = ("" if n is None else n for n in numbers)
        writer.writerow((clip.index, clip.name, " ".join(clip.situations), clip.donor, *cells))
    return out.getvalue()


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)
