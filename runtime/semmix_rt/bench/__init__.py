"""Latency benchmarks: engines, precisions and chunk lengths side by side in one process."""

from semmix_rt.bench.cases import Case
from semmix_rt.bench.result import BenchResult, CaseResult, Skipped
from semmix_rt.bench.run import bench

__all__ = ["BenchResult", "Case", "CaseResult", "Skipped", "bench"]
