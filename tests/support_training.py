"""Small seeded networks, checkpoints and stem folders for the rooms that know PyTorch."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from safetensors.torch import save as save_safetensors
from torch import Tensor

from semmix.bundle import Bundle, write_bundle
from semmix.nn import EdgeSemMix, build
from semmix.nn.edge import Masking
from semmix.training.checkpoint import Checkpoint

Float32 = NDArray[np.float32]
RATE_HZ = 48_000


def lively_network(preset: str = "tiny", seed: int = 0, **overrides: Any) -> EdgeSemMix:
    """An untrained network whose parameters have all left their neutral start.

    Fresh biases are zeros and fresh norms are ones: a graph that dropped or swapped them would
    agree with the network all the same.
    """
    torch.manual_seed(seed)
    network = build(preset, **overrides)
    with torch.no_grad():
        for parameter in network.parameters():
            size = 0.1 * max(float(parameter.std(unbiased=False)), 0.3)
            parameter += size * torch.randn(parameter.shape)
        network.split.fit(0.1 * torch.randn(1, 64, network.head.bins).abs())
    return network.eval()


def network_inputs(
    network: EdgeSemMix, batch: int = 1, frames: int = 16, segments: int = 2, seed: int = 1
) -> tuple[Tensor, Tensor, Tensor]:
    """Seeded spectrum, tokens and weights; the weights move between the segments."""
    config = network.config
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    spectrum = 0.1 * noise(batch, frames, network.head.bins).abs()
    embeddings = torch.nn.functional.normalize(
        noise(batch * segments, 6, config.embedding_dim), dim=-1
    )
    with torch.no_grad():
        tokens = network.context_encoder(embeddings)
    weights = torch.softmax(3.0 * noise(batch, frames, segments), -1)
    return spectrum, tokens.reshape(batch, segments, 6, -1), weights


@torch.no_grad()
def masked(
    network: EdgeSemMix, spectrum: Tensor, tokens: Tensor, weights: Tensor, *state: Tensor
) -> Masking:
    """What the network finds, from a fresh state where none is given."""
    return network.masking(
        spectrum, tokens, weights, *(state or network.initial_state(len(spectrum)))
    )


def checkpoint_of(network: EdgeSemMix, step: int = 7, **settings: Any) -> Checkpoint:
    """A checkpoint whose averaged weights are the network's."""
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    return Checkpoint(
        config=network.config,
        step=step,
        settings=settings or {"seed": 3},
        model={name: value.clone() for name, value in weights.items()},
        average=weights,
        optimizer={},
    )


def torch_bundle(folder: Path, network: EdgeSemMix, /, **changes: Any) -> Bundle:
    """A bundle that only PyTorch can run: its graphs are no graphs."""
    parts: dict[str, Any] = {
        "context": b"none",
        "highlighters": {"fp32": b"none"},
        "golden": {"mask": np.zeros(1, np.float32)},
        "model_card": "# seeded\n",
        "provenance": {"config": asdict(network.config)},
        "parity": {},
        "network": save_safetensors(
            {name: value.contiguous() for name, value in network.state_dict().items()}
        ),
    }
    return write_bundle(folder, network.config.spec(), **(parts | changes))


class WordEncoder:
    """Embeds sentences by a seed made of their letters: equal ones alike, others apart."""

    dim = 384

    def encode(self, texts: Sequence[str]) -> Float32:
        rows = [
            np.random.default_rng(list(text.encode())).standard_normal(self.dim) for text in texts
        ]
        return np.stack(rows).astype(np.float32) / np.float32(self.dim**0.5)


def _speech(rng: np.random.Generator, seconds: float, rate_hz: int) -> NDArray[np.float64]:
    """A buzz of harmonics in syllables of a quarter of a second."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    pitch_hz = rng.uniform(90.0, 220.0)
    buzz = sum(np.sin(2 * np.pi * pitch_hz * k * time_s) / k for k in range(1, 12))
    return 0.1 * buzz * np.sin(np.pi * 4.0 * time_s) ** 2


def _music(rng: np.random.Generator, seconds: float, rate_hz: int) -> NDArray[np.float64]:
    """A chord that swells slowly."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    root_hz = rng.uniform(200.0, 400.0)
    chord = sum(np.sin(2 * np.pi * root_hz * ratio * time_s) for ratio in (1.0, 1.25, 1.5))
    return 0.1 * chord * (0.7 + 0.3 * np.sin(2 * np.pi * 0.5 * time_s))


def _effect(rng: np.random.Generator, seconds: float, rate_hz: int) -> NDArray[np.float64]:
    """Noise that dies away."""
    count = round(seconds * rate_hz)
    return 0.2 * rng.standard_normal(count) * np.exp(-3.0 * np.arange(count) / count)


def write_stems(root: Path, rate_hz: int = RATE_HZ, seed: int = 4) -> Path:
    """Write a folder of seeded stems with a catalogue; return it."""
    rng = np.random.default_rng(seed)
    rows = []
    makers = {"speech": _speech, "music": _music, "effects": _effect}
    words = {"speech": "voice", "music": "piece", "effects": "gun"}
    for stem, make in makers.items():
        (root / stem).mkdir(parents=True)
        for number in range(3):
            audio = make(rng, float(rng.uniform(1.5, 3.0)), rate_hz)
            soundfile.write(root / stem / f"{number}.wav", audio, rate_hz)
            category = words[stem] if number else "bird"
            rows.append((f"{stem}/{number}.wav", category, f"{stem}_{number}.wav"))
    with (root / "catalog.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(("path", "category", "original_name"))
        writer.writerows(rows)
    return root
