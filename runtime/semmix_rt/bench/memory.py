"""Peak memory of one engine, measured in a process of its own.

Run as `python -m semmix_rt.bench.memory BUNDLE ENGINE PRECISION THREADS`; prints megabytes of the
host and of the GPU as JSON. The process imports, loads and runs a few chunks, as a remix would.
"""

from __future__ import annotations

import json
import subprocess
import sys

from semmix.bundle import Bundle
from semmix_rt.bench.cases import Case
from semmix_rt.bench.opening import open_case
from semmix_rt.bench.runners import stream_or_window
from semmix_rt.bench.sound import seeded_sound
from semmix_rt.engines.ort_records import ON_GPU
from semmix_rt.engines.trt.cuda import free_bytes
from semmix_rt.report import peak_rss_mb

_CALLS = 4
_LIMIT_S = 900.0


def memory_mb(bundle: Bundle, case: Case, threads: int) -> tuple[float | None, float | None]:
    """Peak resident memory, and memory taken on the GPU, of a process that runs a case.

    Returns:
        MB (1e6 bytes) each, None where unknown; for the GPU also for engines that run elsewhere.
    """
    arguments = (str(bundle.path), case.engine, case.precision, str(threads))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "semmix_rt.bench.memory", *arguments],
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=True,
        )
        host_mb, gpu_mb = json.loads(done.stdout.strip().splitlines()[-1])
        return round(float(host_mb), 1), None if gpu_mb is None else round(float(gpu_mb), 1)
    except (subprocess.SubprocessError, ValueError, TypeError, IndexError):
        return None, None


class GpuMemory:
    """Memory that is taken on the first GPU from here on, by whomever: run nothing beside.

    That of the CUDA runtime itself, which the first look starts, is not among it.
    """

    def __init__(self, engine: str) -> None:
        """Look how much is free, for an engine that runs on a GPU."""
        self._before = free_bytes() if engine in ON_GPU else None

    def taken_mb(self) -> float | None:
        """MB (1e6 bytes), None where it cannot be told and for engines that run elsewhere."""
        now = None if self._before is None else free_bytes()
        return None if self._before is None or now is None else (self._before - now) / 1e6


def main() -> None:
    """Run a case and print this process's memory."""
    path, engine, precision, threads = sys.argv[1:]
    bundle = Bundle.load(path)
    gpu = GpuMemory(engine)
    opened = open_case(bundle, Case(engine, precision, 0.0), int(threads))
    rate_hz = opened.spec.audio.sample_rate_hz
    runner = stream_or_window(opened, seeded_sound(4 * rate_hz, rate_hz))
    for repeat in range(_CALLS):
        runner.prepare(repeat)
        runner.call()
    print(json.dumps([peak_rss_mb(), gpu.taken_mb()]))


if __name__ == "__main__":
    main()
