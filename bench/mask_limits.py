"""What limits a network: its shares (who sounds in a bin) or its gains (how much of whom).

Each is replaced by the truth in turn, on generated mixes whose stems are known. What is left when
both are true is the limit of any mask on the mixture's phase.

    python bench/mask_limits.py stems --clips 60
    python bench/mask_limits.py stems --checkpoint run.safetensors --json limits.json

Networks learn from mono mixes. `--stereo` spreads every stem over two channels, as far as such
stems usually are spread, and lets the network hear what `remix` gives it of two channels.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from semmix.bundle import Bundle
from semmix.cues.text import TextEncoder
from semmix.dsp.mask import linked_magnitude
from semmix.dsp.stft import istft, stft
from semmix.metrics import PUBLISHED_SCALE, at_44100, env, mag, wasserstein
from semmix.nn import EdgeSemMix
from semmix.nn.edge import NEPERS_PER_DB
from semmix.nn.engine import network_from_bundle
from semmix.specs import StftSpec
from semmix.training.batches import Batch, collate
from semmix.training.checkpoint import load_checkpoint
from semmix.training.heard import heard
from semmix.training.scenes import SceneGenerator
from semmix.training.stems import StemLibrary

Float32 = NDArray[np.float32]
METRICS = {"MAG": mag, "ENV": env, "W-dis": wasserstein}
STEREO = ((0.3, 0.2), (1.0, 0.2), (1.0, 0.8))
"""Largest width (1: as much between the channels as in them) and place (1: one channel alone) of
speech, music and effects."""
SPREAD_SAMPLES = 1440
"""Length of the noise that decorrelates the channels: 30 ms at 48 kHz."""


def spread(stem: Float32, width: float, place: float, rng: np.random.Generator) -> Float32:
    """Stereo `[2, N]` of a stem `[N]`, of equal power in the mean over channels.

    The stem lies in the middle; filtered by decaying noise it is added to one channel and taken
    from the other; then both are panned with constant power.

    Args:
        stem: mono.
        width: 0 for equal channels, 1 for unrelated ones.
        place: -1 (left) to 1 (right).
        rng: of the noise.
    """
    decay = 10.0 ** (-3.0 * np.arange(SPREAD_SAMPLES) / SPREAD_SAMPLES)
    noise = rng.standard_normal(SPREAD_SAMPLES) * decay
    side = fftconvolve(stem, noise / np.linalg.norm(noise))[: len(stem)]
    middle, edge = np.cos(width * np.pi / 4), np.sin(width * np.pi / 4)
    pan = (place + 1.0) * np.pi / 4
    channels = np.stack(
        [np.cos(pan) * (middle * stem + edge * side), np.sin(pan) * (middle * stem - edge * side)]
    )
    return (np.sqrt(2.0) * channels).astype(np.float32)


def image(stems: Float32, seed: tuple[int, int]) -> Float32:
    """Stereo stems `[S, 2, N]` of mono ones `[S, N]`; a seed always gives the same image."""
    rng = np.random.default_rng(seed)
    widths = [rng.uniform(0.0, width) for width, _ in STEREO]
    places = [rng.uniform(-place, place) for _, place in STEREO]
    noise = [np.random.default_rng((*seed, i)) for i in range(len(stems))]
    return np.stack([spread(*a) for a in zip(stems, widths, places, noise, strict=True)])


def magnitudes(sound: Float32, spec: StftSpec) -> Float32:
    """Scaled magnitude `[M, F]` of all channels `[C, N]`, as `remix` hears them."""
    return linked_magnitude(stft(sound, spec), spec)


def found(network: EdgeSemMix, batch: Batch) -> tuple[Float32, Float32]:
    """Shares `[S, M, F]` and gains in nepers `[M, S]` of a batch of one clip."""
    with torch.inference_mode():
        result = heard(network, batch.mixture, batch.embeddings, batch.weights)
    return result.shares[0].numpy(), result.gains[0].numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("stems", type=Path, help="folder with speech/, music/, effects/")
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--checkpoint", type=Path, help="by default the bundled network")
    parser.add_argument("--stereo", action="store_true", help="spread the stems over two channels")
    parser.add_argument("--json", type=Path, help="write the means here")
    args = parser.parse_args()

    if args.checkpoint:
        network = load_checkpoint(args.checkpoint).network().eval()
    else:
        network = network_from_bundle(Bundle.default())
    spec, encoder = network.config.spec(), TextEncoder.default()
    rate_hz = spec.audio.sample_rate_hz
    generator = SceneGenerator(StemLibrary(args.stems, rate_hz), args.seed, drop_cues=False)
    distances: dict[str, list[list[float]]] = {}
    share_errors, gain_errors_db = [], []
    for index in range(args.clips):
        example = generator.example(index)
        batch = collate([example], generator.scenes(index, 1), spec.stft, rate_hz, encoder)
        parts, targets = (
            image(s, (args.seed, index)) if args.stereo else s[:, None]
            for s in (example.mix_stems, example.target_stems)
        )
        mix, target = parts.sum(axis=0), targets.sum(axis=0)
        stems = np.stack([magnitudes(part, spec.stft) for part in parts])
        mixture = magnitudes(mix, spec.stft)
        batch = replace(batch, mixture=torch.from_numpy(mixture)[None])
        shares, gains = found(network, batch)
        true_shares = stems / (stems.sum(0) + 1e-9)
        true_gains = np.broadcast_to(batch.gains[0].numpy(), gains.shape)
        active = batch.active[0].numpy() > 0.0
        share_errors.append(0.5 * np.sum(np.abs(shares - true_shares) * mixture) / np.sum(mixture))
        gain_errors_db.append(np.abs(gains - true_gains)[:, active].mean() / NEPERS_PER_DB)

        spectrum = stft(mix, spec.stft)
        outputs = {"input": mix}
        for name, (share, gain) in {
            "network": (shares, gains),
            "true gains": (shares, true_gains),
            "true shares": (true_shares, gains),
            "both true": (true_shares, true_gains),
        }.items():
            mask = np.einsum("smf,ms->mf", share, np.exp(gain)).astype(np.float32)
            outputs[name] = istft(spectrum * mask, spec.stft, mix.shape[1])
        wanted = [at_44100(channel, rate_hz) for channel in target]
        for name, output in outputs.items():
            pairs = [(w, at_44100(c, rate_hz)) for w, c in zip(wanted, output, strict=True)]
            distances.setdefault(name, []).append(
                [PUBLISHED_SCALE * np.mean([f(*p) for p in pairs]) for f in METRICS.values()]
            )

    means = {name: np.mean(values, axis=0) for name, values in distances.items()}
    for name, values in means.items():
        cells = [
            f"{metric} {value:6.2f} ({100.0 * (value / base - 1.0):+6.1f} %)"
            for metric, value, base in zip(METRICS, values, means["input"], strict=True)
        ]
        print(f"{name:12s}", "   ".join(cells))
    errors = {
        "share_error": float(np.mean(share_errors)),
        "gain_error_db": float(np.mean(gain_errors_db)),
    }
    print(f"magnitude given to the wrong source: {100.0 * errors['share_error']:.1f} %")
    print(f"gains off by {errors['gain_error_db']:.2f} dB")
    if args.json:
        table = {n: dict(zip(METRICS, v.tolist(), strict=True)) for n, v in means.items()}
        args.json.write_text(json.dumps({"means": table, **errors}, indent=1) + "\n")


if __name__ == "__main__":
    main()
