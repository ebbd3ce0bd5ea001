"""Between sound and network: STFT, magnitudes, normalisation, and the way back (VisAH, section 2).

All of it stays outside of exported graphs. Frames stand where the convolutions of the time branch
put their values: frame `m` covers the hop from `m * 1024` on, with 1536 samples on either side.

The way back knows only the T frames of the clip. Where others would overlap them, in the first and
last 1536 samples, a mask of one does not give the clip back, but less: so it is published, and the
time branch can make up for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from semmix.nn.base.config import HOP_SAMPLES, N_FFT

MARGIN_SAMPLES = (N_FFT - HOP_SAMPLES) // 2
EDGE_FRAMES = 2
"""Empty frames that the way back puts at either end, where a centred inverse wants some."""
NORM_FLOOR = 1e-5


@dataclass(frozen=True, slots=True)
class Analysis:
    """What the network hears of a clip, and what the way back needs.

    Attributes:
        spectrum: complex STFT without its Nyquist row `[B, 1, 2048, T]`, T `ceil(N / 1024)`.
        waveform: the clip less its mean, over its standard deviation `[B, 1, N]`.
        mean, std: of the clip `[B, 1, 1]`.
    """

    spectrum: Tensor
    waveform: Tensor
    mean: Tensor
    std: Tensor

    @property
    def magnitude(self) -> Tensor:
        """Magnitudes `[B, 1, 2048, T]`: a full-scale sine has 1024."""
        return self.spectrum.abs()


def analyse(sound: Tensor) -> Analysis:
    """Take a clip apart.

    Args:
        sound: mono at 44.1 kHz `[B, 1, N]`, N at least 2.

    Raises:
        ValueError: another shape.
    """
    if sound.dim() != 3 or sound.shape[1] != 1 or sound.shape[2] < 2:
        raise ValueError(f"clips are [B, 1, N] with 2 samples or more, not {list(sound.shape)}")
    mean = sound.mean((1, 2), keepdim=True)
    std = sound.std((1, 2), keepdim=True)
    return Analysis(spectrogram(sound), (sound - mean) / (NORM_FLOOR + std), mean, std)


def synthesise(analysis: Analysis, mask: Tensor, waveform: Tensor) -> Tensor:
    """Put a clip together: the masked spectrum and the time branch, summed.

    Args:
        analysis: of the clip.
        mask: real gains `[B, 1, 2048, T]`.
        waveform: the network's `[B, 1, N]`, on the normalised scale.

    Returns:
        sound `[B, 1, N]`.
    """
    # A real mask leaves the phase alone, so there is no need to take it out and put it back.
    masked = signal(analysis.spectrum * mask, waveform.shape[2])
    return masked + waveform * analysis.std + analysis.mean


def spectrogram(sound: Tensor) -> Tensor:
    """Complex STFT of `[B, 1, N]` as `[B, 1, 2048, ceil(N / 1024)]`, unnormalised."""
    samples = sound.shape[2]
    frames = -(-samples // HOP_SAMPLES)
    right = MARGIN_SAMPLES + frames * HOP_SAMPLES - samples
    padded = _reflect(sound[:, 0], MARGIN_SAMPLES, right)
    full = torch.stft(
        padded,
        N_FFT,
        HOP_SAMPLES,
        window=torch.hann_window(N_FFT, device=sound.device, dtype=sound.dtype),
        center=False,
        normalized=False,
        return_complex=True,
    )
    return full[:, None, :-1]


def signal(spectrum: Tensor, samples: int) -> Tensor:
    """Sound `[B, 1, samples]` of a spectrum `[B, 1, 2048, ceil(samples / 1024)]`."""
    full = pad(spectrum[:, 0], (EDGE_FRAMES, EDGE_FRAMES, 0, 1))
    padded = torch.istft(
        full,
        N_FFT,
        HOP_SAMPLES,
        window=torch.hann_window(N_FFT, device=full.device, dtype=full.real.dtype),
        center=True,
        normalized=False,
        length=spectrum.shape[3] * HOP_SAMPLES + 2 * MARGIN_SAMPLES,
    )
    return padded[:, None, MARGIN_SAMPLES : MARGIN_SAMPLES + samples]


def _reflect(x: Tensor, left: int, right: int) -> Tensor:
    """Mirror the ends of `[B, N]`; what is too short for that is lengthened by zeros before."""
    missing = max(left, right) + 1 - x.shape[1]
    if missing > 0:
        after = min(right, missing)
        before = missing - after
        x = pad(x, (before, after))
        left, right = left - before, right - after
    return pad(x, (left, right), mode="reflect")
