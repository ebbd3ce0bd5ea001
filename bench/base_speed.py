"""How fast the paper's own network runs: ONNX Runtime beside PyTorch eager, in one process.

Both engines get the same windows of sound, turn about, so that a machine that slows down slows
both; medians are compared. Without a bundle, a network of the published size with random weights is
exported first: speed does not depend on what the weights say. The real-time factor counts the
seconds by which a window moves the stream on, not the 10 s that it hears.

    python bench/base_speed.py --threads 2 --repeats 5 --json base.json
    python bench/base_speed.py --model imported          # made by `semmix-rt import --with-torch`
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from semmix_export.bundle import snr_db
from semmix_export.gate_sounds import proof_sound
from semmix_export.window_bundle import export_window_bundle
from semmix_rt.engines import WindowEngine, open_window_engine

from semmix.bundle import Bundle
from semmix.dsp.windows import Analysis, analyse, synthesise
from semmix.nn import build
from semmix.specs import WindowSpec

ENGINES = ("ort", "torch")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="bundle that carries weights for PyTorch")
    parser.add_argument("--context", choices=("text", "vision", "none"), default="text")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--warm-up", type=int, default=1, help="windows before the clock runs")
    parser.add_argument("--json", type=Path, help="also write every single run to this file")
    arguments = parser.parse_args()
    if arguments.repeats < 1 or arguments.threads < 1:
        sys.exit("ask for 1 repeat and 1 thread or more")

    with tempfile.TemporaryDirectory(prefix="semmix-bench-") as name:
        bundle = Bundle.load(arguments.model) if arguments.model else _random(arguments, Path(name))
        spec = bundle.window_spec
        if spec is None:
            sys.exit(f"{bundle.path} holds a model that streams: give one that hears windows")
        engines = {n: open_window_engine(bundle, n, threads=arguments.threads) for n in ENGINES}
        walls_s, worst_db = measure(engines, spec, arguments.repeats, arguments.warm_up)
    stride_s = spec.stride_samples / spec.audio.sample_rate_hz
    print_table(walls_s, stride_s, worst_db, arguments.threads)
    if arguments.json is not None:
        facts = {
            "model": bundle.name,
            "stride_s": stride_s,
            "window_s": spec.window_samples / spec.audio.sample_rate_hz,
            "threads": arguments.threads,
            "snr_db": worst_db,
            "machine": {
                "system": platform.platform(),
                "cpus": os.cpu_count(),
                "torch": torch.__version__,
                "onnxruntime": onnxruntime.__version__,
            },
            "walls_s": walls_s,
        }
        arguments.json.write_text(json.dumps(facts, indent=2) + "\n")


def _random(arguments: argparse.Namespace, folder: Path) -> Bundle:
    torch.manual_seed(0)
    network = build("base", context=arguments.context, context_attention="released")
    print("exporting a network of the published size", file=sys.stderr)
    return export_window_bundle(
        network.requires_grad_(False).eval(), folder / "base", model_card="x", with_torch=True
    )


def measure(
    engines: dict[str, WindowEngine], spec: WindowSpec, repeats: int, warm_up: int
) -> tuple[dict[str, list[float]], float]:
    """Wall times of a window by engine, transforms included, and the worst agreement in dB."""
    vectors = np.random.default_rng(0).standard_normal(
        (spec.context_vectors, spec.context_dim), np.float32
    )
    walls_s: dict[str, list[float]] = {name: [] for name in engines}
    worst_db = 200.0
    for repeat in range(warm_up + repeats):
        sound = proof_sound(spec, repeat)
        out = {}
        for name, engine in engines.items():
            started = time.perf_counter()
            analysis = analyse(sound, spec)
            tokens = None if spec.context == "none" else engine.encode_context(vectors)[None]
            out[name] = _wet(engine, analysis, tokens, spec)
            if repeat >= warm_up:
                walls_s[name].append(time.perf_counter() - started)
        worst_db = min(worst_db, snr_db(out["torch"], out["ort"]))
    return walls_s, worst_db


def _wet(
    engine: WindowEngine, analysis: Analysis, tokens: np.ndarray | None, spec: WindowSpec
) -> np.ndarray:
    mask, wave = engine.run(analysis.magnitude[None], analysis.waveform[None], tokens)
    return synthesise(analysis, mask[0], wave[0], spec)


def print_table(
    walls_s: dict[str, list[float]], stride_s: float, worst_db: float, threads: int
) -> None:
    """Medians, extremes and real-time factors of one channel."""
    count = len(next(iter(walls_s.values())))
    print(f"one channel, {threads} threads, medians of {count} windows, {stride_s:.2f} s kept each")
    print(" " * 8 + "".join(f"{head:>9}" for head in ("s", "min", "max", "x real")))
    for name, walls in walls_s.items():
        wall_s = statistics.median(walls)
        row = (f"{wall_s:9.3f}", f"{min(walls):9.3f}", f"{max(walls):9.3f}")
        print(f"{name:8}{''.join(row)}{stride_s / wall_s:9.2f}")
    print(f"ONNX Runtime agrees with PyTorch to {worst_db:.1f} dB")


if __name__ == "__main__":
    main()
