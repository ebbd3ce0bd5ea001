"""An evaluation as plain values for JSON, and as the rows of a CSV file."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from semmix.training.evaluate import EvaluationResult, clip_values
from semmix.training.guides import ALONE, MINIMAL
from semmix.training.measures import MEASURE_NOTES, READINGS

TITLES = {
    "input": "spoiled mix",
    "right": "right cues",
    "none": "no cues",
    "swapped": "swapped cues",
    "good": "good mix in",
    "target": "target",
    MINIMAL: "a word or two",
    **{name: f"only {kind.value.replace('_', ' ')}" for name, kind in ALONE.items()},
}
"""What people read instead of a condition's name."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What ran on what. Results are comparable where all but the model's facts are equal.

    Attributes:
        model: its name.
        model_sha256: identity of its bundle.
        engine: what ran it, also where `auto` was asked for.
        provider: what really computed, such as `CPUExecutionProvider`.
        threads: CPU threads asked of the engine.
        told: what the model was told from: `cues`, `pictures` (through a vision encoder), `text`
            or `vision` (vectors that came with the clips), or `nothing`. Levels are measured shot
            by shot where it is `cues`, else over whole clips.
        encoder: identifier of what made vectors of cues or pictures, empty where nothing did.
        tagger: file name of the model behind KLD, None without.
        ib_model: `MODULE:NAME` of the model behind dIB, None without.
        source: name of the clips' folder.
        source_sha256: hash of the names and sizes of its files, and of labels where there are any.
        delivered: mixes were spoiled as delivery does.
        programme_lufs: of the programmes that clips were excerpts of, None where each was one.
        skipped: names of clips that lacked files and were left out.
        tool: versions of this package and of what it stands on, and the machine.
    """

    model: str
    model_sha256: str
    engine: str
    provider: str
    threads: int
    told: str
    encoder: str
    tagger: str | None
    ib_model: str | None
    source: str
    source_sha256: str
    delivered: bool
    programme_lufs: float | None
    skipped: tuple[str, ...]
    tool: Mapping[str, Any]


def comparisons(result: EvaluationResult) -> tuple[tuple[str, str], ...]:
    """Which conditions are held against which; those of an ablation against three others."""
    plain = (("right", "input"), ("none", "input"), ("right", "none"), ("right", "swapped"))
    ablated = [(name, other) for name in result.ablated for other in ("input", "none", "right")]
    others = [(name, "right") for name in ("none", "swapped")] if ablated else []
    return (*plain, *ablated, *others)


def as_dict(facts: RunFacts, result: EvaluationResult) -> dict[str, Any]:
    """Plain values for JSON: facts, settings, means, changes in percent, every clip.

    `change_percent` and `interval_95_percent` have an entry `A against B` for each pair of
    `comparisons`; intervals are paired, clip by clip. Numbers that are not known are null.
    """
    return {
        **asdict(facts),
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
