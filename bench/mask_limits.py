"""What limits a network: its shares (who sounds in a bin) or its gains (how much of whom).

Each is replaced by the truth in turn, on generated mixes whose stems are known. What is left when
both are true is the limit of any mask on the mixture's phase.

    python bench/mask_limits.py stems --clips 60
    python bench/mask_limits.py stems --checkpoint run.safetensors --json limits.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from semmix.bundle import Bundle
from semmix.cues.text import TextEncoder
from semmix.dsp.stft import istft, stft
from semmix.metrics import PUBLISHED_SCALE, at_44100, env, mag, wasserstein
from semmix.nn import EdgeSemMix
from semmix.nn.edge import NEPERS_PER_DB
from semmix.nn.engine import network_from_bundle
from semmix.training.batches import Batch, collate
from semmix.training.checkpoint import load_checkpoint
from semmix.training.heard import heard
from semmix.training.scenes import SceneGenerator
from semmix.training.stems import StemLibrary

Float32 = NDArray[np.float32]
METRICS = {"MAG": mag, "ENV": env, "W-dis": wasserstein}


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
        shares, gains = found(network, batch)
        stems, mixture = batch.stems[0].numpy(), batch.mixture[0].numpy()
        true_shares = stems / (stems.sum(0) + 1e-9)
        true_gains = np.broadcast_to(batch.gains[0].numpy(), gains.shape)
        active = batch.active[0].numpy() > 0.0
        share_errors.append(0.5 * np.sum(np.abs(shares - true_shares) * mixture) / np.sum(mixture))
        gain_errors_db.append(np.abs(gains - true_gains)[:, active].mean() / NEPERS_PER_DB)

        spectrum = stft(example.mix[None], spec.stft)
        target = at_44100(example.target, rate_hz)
        outputs = {"input": example.mix}
        for name, (share, gain) in {
            "network": (shares, gains),
            "true gains": (shares, true_gains),
            "true shares": (true_shares, gains),
            "both true": (true_shares, true_gains),
        }.items():
            mask = np.einsum("smf,ms->mf", share, np.exp(gain)).astype(np.float32)
            outputs[name] = istft(spectrum * mask, spec.stft, len(example.mix))[0]
        for name, output in outputs.items():
            heard = at_44100(output, rate_hz)
            distances.setdefault(name, []).append(
                [PUBLISHED_SCALE * f(target, heard) for f in METRICS.values()]
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
