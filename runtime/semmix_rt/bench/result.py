"""What a benchmark found, as typed values and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from semmix_rt.bench.cases import Case

SCHEMA = "semmix-rt-bench"
SCHEMA_VERSION = 3


@dataclass(frozen=True, slots=True)
class Latency:
    """Wall times of one call.

    Attributes:
        walls_s: every timed call, in order.
    """

    walls_s: tuple[float, ...]

    def percentile_ms(self, percentile: float) -> float:
        """Milliseconds within which this share of the calls was done."""
        return 1e3 * float(np.percentile(self.walls_s, percentile))

    def to_dict(self) -> dict[str, Any]:
        """Percentiles and every single time."""
        return {
            "median_ms": round(self.percentile_ms(50), 3),
            "p95_ms": round(self.percentile_ms(95), 3),
            "p99_ms": round(self.percentile_ms(99), 3),
            "min_ms": round(1e3 * min(self.walls_s), 3),
            "walls_s": [round(wall, 6) for wall in self.walls_s],
        }


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One engine at one precision and chunk length.

    Attributes:
        provider: what really ran.
        latency: of one chunk.
        rtf: real-time factor: median wall time over the sound it deals with, lower is faster.
        ratio_to_torch: median of PyTorch eager at this chunk length over this median: above 1 is
            faster than PyTorch. None where PyTorch did not take part.
        snr_db: agreement of the last mask with PyTorch eager's on the same chunks.
        peak_memory_mb: of a process that runs this alone, None where it was not measured.
        gpu_memory_mb: that the same process takes on the GPU for its engine, buffers and kernels;
            None for engines that run elsewhere, and where cuda-python cannot tell.
        graph_bytes: size of the network's file.
        install_mb: size of the packages it needs.
    """

    case: Case
    provider: str
    latency: Latency
    rtf: float
    ratio_to_torch: float | None
    snr_db: float | None
    peak_memory_mb: float | None
    gpu_memory_mb: float | None
    graph_bytes: int
    install_mb: float | None


@dataclass(frozen=True, slots=True)
class Extra:
    """Something else timed in the same rounds: the transforms, or a peer.

    Attributes:
        name: what it is.
        step_s: seconds of sound that a call deals with.
    """

    name: str
    step_s: float
    latency: Latency

    @property
    def rtf(self) -> float:
        """Real-time factor of the median."""
        return self.latency.percentile_ms(50) / 1e3 / self.step_s


@dataclass(frozen=True, slots=True)
class Skipped:
    """A case that was not timed, and why."""

    case: Case
    why: str


@dataclass(frozen=True, slots=True)
class BenchResult:
    """A whole benchmark.

    Attributes:
        model: name of the network.
        machine: hardware, threads, load and versions.
        cases: in the order of the table.
        extras: transforms and peers.
        skipped: what could not run here.
        not_applicable: engines that mean nothing for this kind of network, and why.
        transform_shares: time of the STFT pair, magnitudes and mask included, in that of a whole
            mono or stereo stream, at the first chunk length with the fastest engine; nothing for
            models that hear windows.
    """

    model: str
    machine: dict[str, Any]
    repeats: int
    warm_up: int
    cases: tuple[CaseResult, ...]
    extras: tuple[Extra, ...]
    skipped: tuple[Skipped, ...]
    not_applicable: dict[str, str]
    transform_shares: dict[str, float]

    def to_json(self) -> str:
        """Indented JSON, every single wall time included."""
        data = {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "model": self.model,
            "machine": self.machine,
            "repeats": self.repeats,
            "warm_up": self.warm_up,
            "transform_shares": self.transform_shares,
            "cases": [
                {**asdict(c.case), **_without_case(c), "latency": c.latency.to_dict()}
                for c in self.cases
            ],
            "extras": [
                {
                    "name": e.name,
                    "step_s": e.step_s,
                    "rtf": round(e.rtf, 5),
                    "latency": e.latency.to_dict(),
                }
                for e in self.extras
            ],
            "skipped": [{**asdict(s.case), "why": s.why} for s in self.skipped],
            "not_applicable": self.not_applicable,
        }
        return json.dumps(data, indent=2, allow_nan=False) + "\n"


def _without_case(result: CaseResult) -> dict[str, Any]:
    values = asdict(result)
    del values["case"], values["latency"]
    return values
