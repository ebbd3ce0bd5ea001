"""The residual block of the U-Net: time mixing per band, then mixing across bands.

Streaming: a block whose centred taps reach `d` frames ahead delays its stream by `d`. Its state
is the last `2 d` input frames, and the residual path is the middle tap. The same code serves
whole sequences (zero state) and chunks, so training sees exactly what streaming computes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def delayed(x: Tensor, past: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """A stream later by as many frames as its past holds, and the next past.

    Neither is cut from the two joined where it need not be: a chunk is copied once.

    Args:
        x: a chunk, its frames along `dim`.
        past: what came just before it, of any length along `dim`.
        dim: dimension of time.
    """
    frames, held = x.shape[dim], past.shape[dim]
    if frames == held:
        return past, x
    if frames < held:
        return past.narrow(dim, 0, frames), torch.cat(
            (past.narrow(dim, frames, held - frames), x), dim
        )
    first = torch.cat((past, x.narrow(dim, 0, frames - held)), dim)
    return first, x.narrow(dim, frames - held, held)


class BandBlock(nn.Module):
    """Three dilated time taps with per-band matrices, then a band mixer, both residual.

    Args:
        bands, channels: size of the stream `[bands, B, T, channels]`.
        hidden: width of the per-band layer.
        band_hidden: width of the mixer across bands.
        dilation: distance of the taps in frames; also the delay the block adds.
    """

    def __init__(
        self, bands: int, channels: int, hidden: int, band_hidden: int, dilation: int
    ) -> None:
        super().__init__()
        self.dilation = dilation
        self.time_norm = nn.LayerNorm(channels)
        self.time_in = nn.Parameter(
            torch.randn(bands, 3 * channels, hidden) * (2.0 / (3 * channels)) ** 0.5
        )
        self.time_in_bias = nn.Parameter(torch.zeros(bands, 1, hidden))
        self.time_out = nn.Parameter(torch.randn(bands, hidden, channels) * 0.3 * hidden**-0.5)
        self.time_out_bias = nn.Parameter(torch.zeros(bands, 1, channels))
        self.band_norm = nn.LayerNorm(channels)
        self.band_in = nn.Parameter(torch.randn(band_hidden, bands) * (2.0 / bands) ** 0.5)
        self.band_in_bias = nn.Parameter(torch.zeros(band_hidden, 1))
        self.band_out = nn.Parameter(torch.randn(bands, band_hidden) * 0.3 * band_hidden**-0.5)

    @property
    def state_frames(self) -> int:
        """Frames of input the block remembers."""
        return 2 * self.dilation

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Run one chunk.

        Args:
            x: stream `[N, B, T, C]`.
            past: the block's last input frames `[N, B, 2 d, C]`.

        Returns:
            the stream, delayed by `d` frames, and the next `past`.
        """
        bands, batch, frames, channels = x.shape
        d = self.dilation
        buffer = torch.cat((past, x), 2)
        normed = self.time_norm(buffer)
        taps = torch.cat(
            (normed[:, :, :frames], normed[:, :, d : d + frames], normed[:, :, 2 * d :]), 3
        ).reshape(bands, batch * frames, 3 * channels)
        hidden = torch.relu(torch.bmm(taps, self.time_in) + self.time_in_bias)
        update = torch.bmm(hidden, self.time_out) + self.time_out_bias
        y = buffer[:, :, d : d + frames] + update.reshape(bands, batch, frames, channels)

        flat = self.band_norm(y).reshape(bands, batch * frames * channels)
        mixed = torch.relu(self.band_in @ flat + self.band_in_bias)
        y = y + (self.band_out @ mixed).reshape(bands, batch, frames, channels)
        return y, buffer[:, :, frames:]
