"""How fast a whole remix is, against the least that any tool must do.

The floor is `ffmpeg -c:v copy -c:a aac`: it demuxes, decodes the sound, encodes and muxes it, and
neither looks at the picture nor changes a sample. Runs are interleaved (floor, cold, cached, floor,
...) so that a machine that slows down slows all of them; medians are compared.

    python bench/remix_speed.py film.mp4 --repeats 5 --json speed.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

PROGRAM = "import sys; from semmix_rt.cli.root import main; sys.exit(main())"


@dataclass(frozen=True)
class Run:
    """One measured child process."""

    wall_s: float
    cpu_s: float
    peak_rss_mb: float


def measure(command: list[str], environment: dict[str, str]) -> Run:
    """Run a command to its end; time and memory are the child's own (`wait4`)."""
    started = time.perf_counter()
    child = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert child.stderr is not None
    with child.stderr as pipe:
        errors = pipe.read()
    _, status, usage = os.wait4(child.pid, 0)
    wall_s = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{errors.decode(errors='replace')[-2000:]}")
    # Kilobytes on Linux, bytes on macOS.
    unit = 1 if platform.system() == "Darwin" else 1024
    return Run(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("film", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--model", type=Path, help="bundle, by default the one that comes along")
    parser.add_argument("--bit-rate", default="192k", help="of the sound, for floor and remix")
    parser.add_argument(
        "--ffmpeg", default=shutil.which("ffmpeg"), help="floor; left out if absent"
    )
    parser.add_argument("--json", type=Path, help="also write all runs to this file")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="semmix-bench-") as name:
        runs, audio_s = run_all(arguments, Path(name))
    print_table(runs, audio_s)
    if arguments.json is not None:
        data = {
            "film": arguments.film.name,
            "audio_s": audio_s,
            "machine": {
                "system": platform.platform(),
                "python": platform.python_version(),
                "cpus": os.cpu_count(),
            },
            "runs": {kind: [asdict(r) for r in every] for kind, every in runs.items()},
        }
        arguments.json.write_text(json.dumps(data, indent=2) + "\n")


def run_all(arguments: argparse.Namespace, folder: Path) -> tuple[dict[str, list[Run]], float]:
    """Every run of every kind, interleaved, and the length of the sound."""
    suffix, bit_rate = arguments.film.suffix, arguments.bit_rate
    output, report = folder / f"out{suffix}", folder / "report.json"
    remix = [sys.executable, "-c", PROGRAM, "remix", str(arguments.film), "-o", str(output)]
    remix += ["-y", "-q", "--audio-codec", "aac", "--audio-bitrate", bit_rate]
    remix += ["--report", str(report)]
    if arguments.model is not None:
        remix += ["--model", str(arguments.model)]
    floor = [arguments.ffmpeg or "", "-v", "error", "-nostdin", "-y", "-i", str(arguments.film)]
    floor += ["-c:v", "copy", "-c:a", "aac", "-b:a", bit_rate, str(output)]

    runs: dict[str, list[Run]] = {"floor": [], "cold": [], "cached": []}
    if not arguments.ffmpeg:
        del runs["floor"]
    for repeat in range(arguments.repeats):
        if "floor" in runs:
            runs["floor"].append(measure(floor, dict(os.environ)))
        # A cache of its own for every pair: the first run is cold, the second is not.
        own = {**os.environ, "SEMMIX_CACHE_DIR": str(folder / f"cache{repeat}")}
        for kind, expected in (("cold", "extractor"), ("cached", "cache")):
            runs[kind].append(measure(remix, own))
            done = json.loads(report.read_text())
            if done["cues"]["source"] not in (expected, "none"):
                sys.exit(f"the {kind} run took its cues from {done['cues']['source']}")
    return runs, float(done["timings"]["audio_s"])


def print_table(runs: dict[str, list[Run]], audio_s: float) -> None:
    """Medians, and how they compare with the floor."""
    floor_s = statistics.median(r.wall_s for r in runs["floor"]) if "floor" in runs else None
    print(f"{audio_s:.1f} s of sound, medians of {len(runs['cold'])}")
    heads = ("wall s", "min", "max", "CPU s", "x real", "x floor", "RSS MB")
    print(" " * 8 + "".join(f"{head:>9}" for head in heads))
    for kind, every in runs.items():
        walls = [r.wall_s for r in every]
        wall_s = statistics.median(walls)
        ratio = "-" if floor_s is None else f"{wall_s / floor_s:.2f}"
        cpu_s = statistics.median(r.cpu_s for r in every)
        rss_mb = max(r.peak_rss_mb for r in every)
        print(
            f"{kind:8}{wall_s:9.2f}{min(walls):9.2f}{max(walls):9.2f}{cpu_s:9.2f}"
            f"{audio_s / wall_s:9.1f}{ratio:>9}{rss_mb:9.0f}"
        )


if __name__ == "__main__":
    main()
