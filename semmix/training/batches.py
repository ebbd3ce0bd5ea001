"""From scenes to tensors: magnitudes, cue embeddings and segment weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semmix.cues.types import CUE_TYPES
from semmix.dsp.streaming import windowed_spectra
from semmix.nn.edge import NEPERS_PER_DB
from semmix.specs import StftSpec
from semmix.training.policy import SITUATION_BY_NAME
from semmix.training.scenes import Example, Shot

MAX_SHOTS = 2


class Encoder(Protocol):
    """What turns sentences into embeddings."""

    dim: int

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings `[N, dim]`."""
        ...


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's tensors.

    Attributes:
        mixture, target: scaled magnitudes `[B, M, F]`.
        embeddings: cue embeddings `[B, S, K, E]`, zeros where unknown.
        weights: share of each shot in each frame `[B, M, S]`.
        stems: scaled magnitudes of the stems in the mixture `[B, stems, M, F]`.
        gains: nepers that mend each stem `[B, stems]`.
        active: 1.0 where a stem sounds `[B, stems]`.
        policy_embeddings: cues of further scenes, without sound `[P, K, E]`.
        policy_balance: the level that each of them asks for, in nepers `[P, stems]`.
    """

    mixture: Tensor
    target: Tensor
    embeddings: Tensor
    weights: Tensor
    stems: Tensor
    gains: Tensor
    active: Tensor
    policy_embeddings: Tensor
    policy_balance: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same tensors on another device."""
        return Batch(*(getattr(self, field.name).to(device) for field in fields(self)))


def magnitudes(x: NDArray[np.float32], spec: StftSpec) -> NDArray[np.float32]:
    """Scaled magnitudes `[M, F]` of a mono signal `[N]`, centred frames as in `semmix.dsp`."""
    half = spec.n_fft // 2
    frames = spec.frames(len(x))
    padded = np.zeros((frames - 1) * spec.hop_samples + spec.n_fft, np.float32)
    padded[half : half + len(x)] = x
    view = np.lib.stride_tricks.sliding_window_view(padded, spec.n_fft)[:: spec.hop_samples]
    return np.abs(windowed_spectra(view)) * np.float32(spec.scale)


def shot_weights(
    shots: Sequence[Shot], frames: int, frame_s: float, ramp_s: float
) -> NDArray[np.float32]:
    """Share of each shot in each frame `[M, MAX_SHOTS]`, with linear ramps at the cuts."""
    times = np.arange(frames) * frame_s
    weights = np.zeros((frames, MAX_SHOTS), np.float32)
    remaining = np.ones(frames)
    for i, shot in enumerate(shots[:-1]):
        later = np.clip((times - shot.end_s) / ramp_s + 0.5, 0.0, 1.0)
        weights[:, i] = remaining * (1.0 - later)
        remaining = remaining * later
    weights[:, len(shots) - 1] = remaining
    return weights


def embed_shots(shots: Sequence[Shot], encoder: Encoder) -> NDArray[np.float32]:
    """Cue embeddings `[MAX_SHOTS, K, E]`; unknown cues and missing shots are zeros."""
    out = np.zeros((MAX_SHOTS, len(CUE_TYPES), encoder.dim), np.float32)
    for i, shot in enumerate(shots):
        for k, cue_type in enumerate(CUE_TYPES):
            text = shot.cues.get(cue_type)
            if text is not None:
                out[i, k] = encoder.encode([text])[0]
    return out


def collate(
    examples: Sequence[Example],
    scenes: Sequence[Shot],
    spec: StftSpec,
    rate_hz: int,
    encoder: Encoder,
) -> Batch:
    """Tensors of a list of examples of equal length, and of scenes without sound."""
    mixture = np.stack([magnitudes(e.mix, spec) for e in examples])
    target = np.stack([magnitudes(e.target, spec) for e in examples])
    stems = np.stack([np.stack([magnitudes(s, spec) for s in e.mix_stems]) for e in examples])
    frame_s = spec.hop_samples / rate_hz
    balance = [SITUATION_BY_NAME[s.situation].balance_lu for s in scenes]
    arrays = (
        mixture,
        target,
        np.stack([embed_shots(e.shots, encoder) for e in examples]),
        np.stack([shot_weights(e.shots, mixture.shape[1], frame_s, 0.2) for e in examples]),
        stems,
        np.stack([-NEPERS_PER_DB * e.gains_db for e in examples]).astype(np.float32),
        (stems.max(axis=(2, 3)) > 0.0).astype(np.float32),
        np.stack([embed_shots((s,), encoder)[0] for s in scenes]),
        (NEPERS_PER_DB * np.array(balance)).astype(np.float32),
    )
    return Batch(*(torch.from_numpy(a) for a in arrays))
