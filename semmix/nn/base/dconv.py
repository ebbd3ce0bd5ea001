"""The residual branch of an encoder level (VisAH, section 3, after Hybrid Demucs).

Modules stand at the places in their sequences that the published parameter names count.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

COMPRESSION = 4
DILATIONS = (1, 2)
LSTM_STEPS = 200
ATTENTION_HEADS = 4
ATTENTION_DECAYS = 4
SELF_SCORE = -100.0
"""Score of a step with itself in local attention: what it is, the residual path says already."""


class LayerScale(nn.Module):
    """A gain for each channel, small at the start, so that a branch grows in."""

    def __init__(self, channels: int, initial: float = 1e-4) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels,), initial))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, T]` to `[B, C, T]`."""
        return self.scale[:, None] * x


class Blstm(nn.Module):
    """A two-layer bidirectional LSTM with a skip path.

    What is longer than a window runs in windows of 200 steps that overlap by half. Of each, only
    the middle half is kept, where the LSTM has seen both sides; the first keeps its beginning as
    well, and the last its end.
    """

    def __init__(self, channels: int, window: int = LSTM_STEPS) -> None:
        super().__init__()
        self.window = window
        self.lstm = nn.LSTM(channels, channels, num_layers=2, bidirectional=True)
        self.linear = nn.Linear(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, T]` to `[B, C, T]`."""
        batch, channels, steps = x.shape
        if steps <= self.window:
            return x + self._run(x)
        stride = self.window // 2
        edge = stride // 2
        count = -(-steps // stride)
        padded = nn.functional.pad(x, (0, (count - 1) * stride + self.window - steps))
        windows = padded.unfold(2, self.window, stride).transpose(1, 2)
        out = self._run(windows.reshape(batch * count, channels, self.window))
        out = out.reshape(batch, count, channels, self.window)
        middles = out[..., edge:-edge].transpose(1, 2).reshape(batch, channels, count * stride)
        y = torch.cat((out[:, 0, :, :edge], middles, out[:, -1, :, -edge:]), 2)
        return x + y[..., :steps]

    def _run(self, x: Tensor) -> Tensor:
        hidden, _ = self.lstm(x.permute(2, 0, 1))
        y: Tensor = self.linear(hidden)
        return y.permute(1, 2, 0)


class LocalAttention(nn.Module):
    """Self-attention whose reach in time the content decides, without positions.

    A score falls linearly with distance. Each query chooses how steeply: four rates, in the ratio
    1 : 2 : 3 : 4, each switched on by a sigmoid. A step does not attend to itself.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels % ATTENTION_HEADS:
            raise ValueError(f"{channels} channels are not a multiple of {ATTENTION_HEADS} heads")
        self.content = nn.Conv1d(channels, channels, 1)
        self.query = nn.Conv1d(channels, channels, 1)
        self.key = nn.Conv1d(channels, channels, 1)
        self.query_decay = nn.Conv1d(channels, ATTENTION_HEADS * ATTENTION_DECAYS, 1)
        self.proj = nn.Conv1d(channels, channels, 1)
        # Wide open at the start: the rates begin near zero.
        with torch.no_grad():
            self.query_decay.weight *= 0.01
            self.query_decay.bias.fill_(-2.0)  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, T]` to `[B, C, T]`."""
        batch, channels, steps = x.shape

        def split(y: Tensor) -> Tensor:
            return y.reshape(batch, ATTENTION_HEADS, -1, steps)

        query, key = split(self.query(x)), split(self.key(x))
        # Scores are [B, H, key, query].
        scores = key.transpose(2, 3) @ query * query.shape[2] ** -0.5
        decay = torch.sigmoid(split(self.query_decay(x)))
        factors = torch.arange(1, ATTENTION_DECAYS + 1, device=x.device, dtype=x.dtype)
        factors = factors * (0.5 * ATTENTION_DECAYS**-0.5)
        rate = (decay * factors[:, None]).sum(2, keepdim=True)
        step = torch.arange(steps, device=x.device, dtype=x.dtype)
        distance = (step[:, None] - step).abs()
        scores = scores - distance * rate
        scores = torch.where(distance == 0.0, torch.full_like(scores, SELF_SCORE), scores)
        mixed = split(self.content(x)) @ torch.softmax(scores, 2)
        y: Tensor = x + self.proj(mixed.reshape(batch, channels, steps))
        return y


class DConv(nn.Module):
    """Two residual layers of dilated convolution in a narrow space, after each other.

    Args:
        channels: of the stream `[B, C, T]`.
        deep: whether an LSTM and local attention stand between the convolutions.
    """

    def __init__(self, channels: int, *, deep: bool) -> None:
        super().__init__()
        hidden = channels // COMPRESSION
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(channels, hidden, 3, dilation=dilation, padding=dilation),
                nn.GroupNorm(1, hidden),
                nn.GELU(),
                *((Blstm(hidden), LocalAttention(hidden)) if deep else ()),
                nn.Conv1d(hidden, 2 * channels, 1),
                nn.GroupNorm(1, 2 * channels),
                nn.GLU(1),
                LayerScale(channels),
            )
            for dilation in DILATIONS
        )

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, T]` to `[B, C, T]`."""
        for layer in self.layers:
            x = x + layer(x)
        return x
