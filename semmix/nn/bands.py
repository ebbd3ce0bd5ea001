"""Band split of a magnitude spectrum and its inverse, the mask head.

Bins are grouped into bands that widen with frequency, narrow where the ear and the harmonics
of speech need it. Each band has its own matrices, so that all work is matrix products of
useful shapes: on small CPU cores these beat strided convolutions of equal cost threefold.
Streams inside the network are band-major: `[bands, B, T, C]`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class BandGroup:
    """`bands` neighbouring bands of `bins` bins each."""

    bands: int
    bins: int


EDGE_BANDS: tuple[BandGroup, ...] = (
    BandGroup(24, 2),  # 0 to 1.1 kHz in steps of 47 Hz: fundamentals and first formants
    BandGroup(16, 8),  # to 4.1 kHz: upper formants
    BandGroup(8, 32),  # to 10.1 kHz: sibilants, attacks
    BandGroup(6, 99),  # to 24 kHz: air
)
"""Bands for 2048-point spectra at 48 kHz: 54 bands over 1026 bins (1025 and one zero)."""


def band_count(groups: tuple[BandGroup, ...]) -> int:
    """Bands in all groups."""
    return sum(g.bands for g in groups)


def padded_bins(groups: tuple[BandGroup, ...]) -> int:
    """Bins that the groups cover."""
    return sum(g.bands * g.bins for g in groups)


class BandSplit(nn.Module):
    """Embed scaled magnitudes `[B, T, F]` as a band-major stream `[N, B, T, C]`.

    Magnitudes are compressed by the power 0.3 first, which brings speech, music and room tone
    to comparable size and keeps FP16 in range.
    """

    exponent = 0.3
    floor = 1e-7

    def __init__(self, groups: tuple[BandGroup, ...], channels: int) -> None:
        super().__init__()
        self.groups = groups
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(g.bands, g.bins, channels) * (0.5 * g.bins**-0.5))
            for g in groups
        )
        self.bias = nn.Parameter(torch.randn(band_count(groups), 1, channels) * 0.1)

    def forward(self, spectrum: Tensor) -> Tensor:
        """Compress, split and embed."""
        batch, frames, bins = spectrum.shape
        x = (spectrum + self.floor).pow(self.exponent)
        x = nn.functional.pad(x, (0, padded_bins(self.groups) - bins))
        parts = []
        start = 0
        for group, weight in zip(self.groups, self.weights, strict=True):
            width = group.bands * group.bins
            part = x[:, :, start : start + width].reshape(batch * frames, group.bands, group.bins)
            parts.append(torch.bmm(part.transpose(0, 1), weight))
            start += width
        stream = torch.cat(parts, 0) + self.bias
        return stream.reshape(stream.shape[0], batch, frames, stream.shape[2])


class MaskHead(nn.Module):
    """Read a linear gain `[B, T, F]` off a band-major stream `[N, B, T, C]`.

    Gains are `max_gain_db * tanh(.)` in decibels: bounded, symmetric, and near 0 dB at the start
    of training. (Starting at exactly 0 dB learnt a third slower over the first hundred steps.)
    """

    def __init__(
        self, groups: tuple[BandGroup, ...], channels: int, bins: int, max_gain_db: float
    ) -> None:
        super().__init__()
        self.groups = groups
        self.bins = bins
        self.nepers = max_gain_db * 0.1151292546497023  # ln(10) / 20
        self.norm = nn.LayerNorm(channels)
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(g.bands, channels, g.bins) * 0.05) for g in groups
        )
        self.bias = nn.Parameter(torch.zeros(bins))

    def forward(self, stream: Tensor) -> Tensor:
        """Project each band to its bins and turn decibels into a gain."""
        bands, batch, frames, channels = stream.shape
        x = self.norm(stream).reshape(bands, batch * frames, channels)
        parts = []
        start = 0
        for group, weight in zip(self.groups, self.weights, strict=True):
            part = torch.bmm(x[start : start + group.bands], weight)
            parts.append(part.transpose(0, 1).reshape(batch, frames, group.bands * group.bins))
            start += group.bands
        z = torch.cat(parts, 2)[:, :, : self.bins] + self.bias
        return torch.exp(self.nepers * torch.tanh(z))
