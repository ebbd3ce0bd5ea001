"""Encoder and decoder layers of both branches (VisAH, section 3, after Hybrid Demucs).

The frequency branch is `[B, C, F, T]` and convolves along F, the time branch `[B, C, N]` along N.
The innermost level has no frequencies left: its layers are those of the time branch, with other
sizes. `conv`, `norm1`, `rewrite`, `dconv`, `conv_tr` and `norm2` are the published names.
"""

from __future__ import annotations

from torch import Tensor, nn

from semmix.nn.base.config import Level
from semmix.nn.base.dconv import DConv

NORM_GROUPS = 4
TIME_KERNEL, TIME_STRIDE, TIME_PADDING = 8, 4, 2
"""Convolution of the time branch, the same on all levels."""


def _norm(deep: bool, channels: int) -> nn.Module:
    return nn.GroupNorm(NORM_GROUPS, channels) if deep else nn.Identity()


class Downsampler(nn.Module):
    """The strided convolution of a level; alone, it is the time branch's last layer.

    Args:
        level: sizes.
        time_branch: make the time branch's layer of a level that has frequencies.
    """

    def __init__(self, level: Level, *, time_branch: bool) -> None:
        super().__init__()
        self.over_frequency = level.over_frequency and not time_branch
        sizes = (level.channels_in, level.channels)
        self.conv: nn.Module
        if self.over_frequency:
            self.stride = level.stride
            self.conv = nn.Conv2d(*sizes, (level.kernel, 1), (level.stride, 1), (level.padding, 0))
        elif time_branch:
            self.stride = TIME_STRIDE
            self.conv = nn.Conv1d(*sizes, TIME_KERNEL, TIME_STRIDE, TIME_PADDING)
        else:
            self.stride = level.stride
            self.conv = nn.Conv1d(*sizes, level.kernel, level.stride, level.padding)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, F, T]` to `[B, C', F / stride, T]`, or `[B, C, N]` to `[B, C', N']`.

        Over time, N' is `ceil(N / stride)`: the right end is filled up with zeros.
        """
        if not self.over_frequency:
            x = nn.functional.pad(x, (0, -x.shape[2] % self.stride))
        y: Tensor = self.conv(x)
        return y


class EncoderLayer(Downsampler):
    """Convolution, norm, GELU, residual branch over time, gated 1x1 convolution."""

    def __init__(self, level: Level, *, time_branch: bool) -> None:
        super().__init__(level, time_branch=time_branch)
        channels = level.channels
        kind = nn.Conv2d if self.over_frequency else nn.Conv1d
        self.norm1 = _norm(level.deep, channels)
        self.dconv = DConv(channels, deep=level.deep)
        self.rewrite = kind(channels, 2 * channels, 1)
        self.norm2 = _norm(level.deep, 2 * channels)

    def forward(self, x: Tensor, injected: Tensor | None = None) -> Tensor:
        """One level down.

        Args:
            x: `[B, C, F, T]`, or `[B, C, N]` over time.
            injected: the time branch's result `[B, C', T]`, added right after the convolution;
                with `[B, C, 1, T]` inside the innermost level over frequency.

        Returns:
            `[B, C', F / stride, T]`, or `[B, C', ceil(N / stride)]`.
        """
        if x.dim() == 4 and not self.over_frequency:
            x = x.squeeze(2)
        y = super().forward(x)
        if injected is not None:
            y = y + injected.unsqueeze(2)
        y = nn.functional.gelu(self.norm1(y))
        if self.over_frequency:
            # Every frequency is a sequence of its own.
            batch, channels, bins, frames = y.shape
            flat = y.transpose(1, 2).reshape(batch * bins, channels, frames)
            y = self.dconv(flat).reshape(batch, bins, channels, frames).transpose(1, 2)
        else:
            y = self.dconv(y)
        return nn.functional.glu(self.norm2(self.rewrite(y)), 1)


class Upsampler(nn.Module):
    """The transposed convolution of a level; alone, it is where the time branch parts again.

    Args:
        level: sizes.
        time_branch: make the time branch's layer of a level that has frequencies.
    """

    def __init__(self, level: Level, *, time_branch: bool) -> None:
        super().__init__()
        self.over_frequency = level.over_frequency and not time_branch
        self.last = level.index == 0
        sizes = (level.channels, level.channels_in)
        self.conv_tr: nn.Module
        if self.over_frequency:
            self.padding = level.padding
            self.conv_tr = nn.ConvTranspose2d(*sizes, (level.kernel, 1), (level.stride, 1))
        elif time_branch:
            self.padding = TIME_PADDING
            self.conv_tr = nn.ConvTranspose1d(*sizes, TIME_KERNEL, TIME_STRIDE)
        else:
            self.padding = level.padding
            self.conv_tr = nn.ConvTranspose1d(*sizes, level.kernel, level.stride)
        self.norm2 = _norm(level.deep, level.channels_in)

    def upsample(self, y: Tensor, length: int) -> Tensor:
        """One level up.

        Args:
            y: `[B, C, F, T]`, or `[B, C, N]` over time.
            length: size of the result along the axis of the convolution.

        Returns:
            `[B, C', length, T]`, or `[B, C', length]`; no activation on the outermost level.
        """
        z: Tensor = self.norm2(self.conv_tr(y))
        z = z.narrow(2, self.padding, length)
        return z if self.last else nn.functional.gelu(z)


class DecoderLayer(Upsampler):
    """Add the skip, gated convolution with a neighbour on each side, transposed convolution."""

    def __init__(self, level: Level, *, time_branch: bool) -> None:
        super().__init__(level, time_branch=time_branch)
        channels = level.channels
        kind = nn.Conv2d if self.over_frequency else nn.Conv1d
        self.rewrite = kind(channels, 2 * channels, 3, padding=1)
        self.norm1 = _norm(level.deep, 2 * channels)

    def blend(self, x: Tensor, skip: Tensor) -> Tensor:
        """What stands before the transposed convolution, of the shape of `skip`.

        Args:
            x: from the level below, of the shape of `skip` (a missing F of 1 is put in).
            skip: the encoder's result of this level.
        """
        if self.over_frequency and x.dim() == 3:
            x = x.unsqueeze(2)
        return nn.functional.glu(self.norm1(self.rewrite(x + skip)), 1)

    def forward(self, x: Tensor, skip: Tensor, length: int) -> Tensor:
        """`blend`, then `upsample`."""
        return self.upsample(self.blend(x, skip), length)
