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
    to comparable size and keeps FP16 in range, then each bin is centred and scaled by constants
    that `fit` takes from the first training batch: a fixed gain, so levels stay readable.
    """

    exponent = 0.3
    floor = 1e-7

    def __init__(self, groups: tuple[BandGroup, ...], channels: int) -> None:
        super().__init__()
        self.groups = groups
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.zeros(padded_bins(groups)))
        self.register_buffer("scale", torch.ones(padded_bins(groups)))
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(g.bands, g.bins, channels) * g.bins**-0.5) for g in groups
        )
        self.bias = nn.Parameter(torch.randn(band_count(groups), 1, channels) * 0.1)

    def forward(self, spectrum: Tensor) -> Tensor:
        """Compress, split and embed."""
        batch, frames, _ = spectrum.shape
        x = (self._compressed(spectrum) - self.mean) * self.scale
        parts = []
        start = 0
        for group, weight in zip(self.groups, self.weights, strict=True):
            width = group.bands * group.bins
            part = x[:, :, start : start + width].reshape(batch * frames, group.bands, group.bins)
            parts.append(torch.bmm(part.transpose(0, 1), weight))
            start += width
        stream = torch.cat(parts, 0) + self.bias
        return stream.reshape(stream.shape[0], batch, frames, stream.shape[2])

    def _compressed(self, spectrum: Tensor) -> Tensor:
        x = (spectrum + self.floor).pow(self.exponent)
        return nn.functional.pad(x, (0, padded_bins(self.groups) - x.shape[2]))

    @torch.no_grad()
    def fit(self, spectrum: Tensor) -> None:
        """Take each bin's mean and scale from typical magnitudes `[B, T, F]`."""
        x = self._compressed(spectrum).flatten(0, 1)
        self.mean.copy_(x.mean(0))
        # A bin that hardly ever sounds must not be blown up, nor silence be divided by zero.
        spread = x.std(0)
        self.scale.copy_(1.0 / spread.clamp(min=max(0.3 * float(spread.mean()), 1e-3)))


class MaskHead(nn.Module):
    """Read the share of each source in each bin `[B, S, T, F]` off a band-major stream.

    Shares are a softmax over the sources: what the network cannot tell apart, it splits. The mask
    is the mean of the sources' gains, weighted by their shares, and so bounded by them.
    """

    def __init__(
        self, groups: tuple[BandGroup, ...], channels: int, bins: int, sources: int
    ) -> None:
        super().__init__()
        self.groups = groups
        self.bins = bins
        self.sources = sources
        self.norm = nn.LayerNorm(channels)
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(g.bands, channels, sources * g.bins) * 0.05) for g in groups
        )
        self.bias = nn.Parameter(torch.zeros(sources, 1, bins))

    def forward(self, stream: Tensor) -> Tensor:
        """Project each band `[N, B, T, C]` to its bins and sources."""
        bands, batch, frames, channels = stream.shape
        x = self.norm(stream).reshape(bands, batch * frames, channels)
        parts = []
        start = 0
        for group, weight in zip(self.groups, self.weights, strict=True):
            part = torch.bmm(x[start : start + group.bands], weight)
            # Sources before bins, so that all that follows runs along rows of bins.
            part = part.reshape(group.bands, batch, frames, self.sources, group.bins)
            parts.append(part.permute(1, 3, 2, 0, 4).flatten(3))
            start += group.bands
        logits = torch.cat(parts, 3)[..., : self.bins] + self.bias
        # The softmax written out: over any but the last axis ONNX Runtime's turns the tensor twice.
        powers = torch.exp(logits - logits.amax(1, keepdim=True))
        return powers / powers.sum(1, keepdim=True)
