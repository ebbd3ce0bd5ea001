"""Peak memory of one engine, measured in a process of its own.

Run as `python -m semmix_rt.bench.memory BUNDLE ENGINE PRECISION THREADS`; prints megabytes. The
process imports, loads and runs a few chunks, as a remix would.
"""

from __future__ import annotations

import subprocess
import sys

from semmix.bundle import Bundle
from semmix_rt.bench.cases import Case
from semmix_rt.bench.opening import open_case
from semmix_rt.bench.runners import stream_or_window
from semmix_rt.bench.sound import seeded_sound
from semmix_rt.report import peak_rss_mb

_CALLS = 4
_LIMIT_S = 900.0


def peak_memory_mb(bundle: Bundle, case: Case, threads: int) -> float | None:
    """Peak resident memory in MB (1e6 bytes) of a process that runs a case, None if unknown."""
    arguments = (str(bundle.path), case.engine, case.precision, str(threads))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "semmix_rt.bench.memory", *arguments],
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=True,
        )
        return round(float(done.stdout.strip().splitlines()[-1]), 1)
    except (subprocess.SubprocessError, ValueError, IndexError):
        return None


def main() -> None:
    """Run a case and print this process's peak memory."""
    path, engine, precision, threads = sys.argv[1:]
    bundle = Bundle.load(path)
    opened = open_case(bundle, Case(engine, precision, 0.0), int(threads))
    rate_hz = opened.spec.audio.sample_rate_hz
    runner = stream_or_window(opened, seeded_sound(4 * rate_hz, rate_hz))
    for repeat in range(_CALLS):
        runner.prepare(repeat)
        runner.call()
    print(peak_rss_mb())


if __name__ == "__main__":
    main()
