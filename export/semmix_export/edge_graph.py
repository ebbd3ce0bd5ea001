"""What the `edge` networks compute, in the form in which graphs of it are fast.

PyTorch trains the network in products of matrices, band by band. ONNX Runtime packs the weights of
such products anew in every call, but those of convolutions once, when it opens the graph; it lays
channels in blocks for them, and adds biases and cuts at zero on the way. So here each band is a
group of channels of a convolution over time. The stream is `[B, T, N, C]`: the turn to channels
first and back is part of that blocking, chunks are joined as they lie in memory, and so are the
latent frames read.

It is the same function of the same weights, to float32 round-off, and every export proves it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from semmix.nn import EdgeSemMix
from semmix.nn.attention import Attention
from semmix.nn.bands import BandSplit, MaskHead
from semmix.nn.blocks import BandBlock, delayed
from semmix.nn.highlighter import HighlighterBlock

_LARGEST_LOGIT = 80.0
"""Its exponential, and the sum of several, are numbers in float32."""


class EdgeGraph(nn.Module):
    """A trained network, ready to be exported.

    Args:
        network: whose weights it takes; it is not changed.
    """

    def __init__(self, network: EdgeSemMix) -> None:
        super().__init__()
        self.network = network
        bands, channels = network.bands, network.config.channels
        width = network.from_latent.in_features
        self.split = _Split(network.split)
        self.encoder, self.decoder = _blocks(network.encoder), _blocks(network.decoder)
        # Of each band scales come first, then shifts; here all scales do, and stand for 1 + scale.
        weight = network.from_latent.weight.reshape(bands, 2, channels, width)
        bias = network.from_latent.bias.reshape(bands, 2, channels) + torch.tensor([[1.0], [0.0]])
        self.from_latent = nn.Linear(width, 2 * bands * channels)
        self.from_latent.weight = _fixed(weight.transpose(0, 1).reshape(-1, width))
        self.from_latent.bias = _fixed(bias.transpose(0, 1).flatten())
        self.head = _Head(network.head)
        self.transformer_blocks = nn.ModuleList(
            _Highlighter(b) for b in network.transformer_blocks if isinstance(b, HighlighterBlock)
        )

    def forward(
        self, spectrum: Tensor, tokens: Tensor, weights: Tensor, state: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """The mask and the next state, as `EdgeSemMix.forward` gives them."""
        network, c = self.network, self.network.config
        batch, frames, _ = spectrum.shape
        steps = frames // c.stride
        blocks = len(self.encoder) + len(self.decoder)
        past = state[: blocks + 1]
        after = []

        x = self.split(spectrum)
        for block, before in zip(self.encoder, past[: len(self.encoder)], strict=True):
            x, memory = block(x, before)
            after.append(memory)
        latent = network.to_latent(x.reshape(batch, frames, -1))
        caches = state[blocks + 1 : blocks + 1 + c.depth]
        h, wanted, had, next_caches = network.highlight(
            latent, tokens, weights, caches, self.transformer_blocks
        )

        scale, shift = self.from_latent(network.narrow(h)).unsqueeze(2).chunk(2, 3)
        skip, following = delayed(x, past[blocks], 1)
        held = skip.reshape(batch, steps, c.stride, -1)
        x = (held * scale + shift).reshape(batch, frames, network.bands, c.channels)
        for block, before in zip(self.decoder, past[len(self.encoder) : blocks], strict=True):
            x, memory = block(x, before)
            after.append(memory)
        after.append(following)

        shares = self.head(x)
        meter = state[blocks + 1 + c.depth :]
        gains, levels = network.gains(spectrum, torch.stack(shares, 1), wanted, had, meter)
        linear = torch.exp(gains).repeat_interleave(c.stride, 1)
        # A sum along an axis of three costs ONNX Runtime five times as much.
        heard = [s * gain for s, gain in zip(shares, linear.unsqueeze(2).unbind(3), strict=True)]
        mask = sum(heard[1:], heard[0])
        return (mask, *after, *next_caches, *levels)


class _Split(nn.Module):
    """`BandSplit` from `[B, T, F]` to `[B, T, N, C]`; its weights centre and scale the bins."""

    def __init__(self, split: BandSplit) -> None:
        super().__init__()
        self.groups = split.groups
        self.exponent, self.floor, self.bins = split.exponent, split.floor, len(split.mean)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        sizes = [group.bands * group.bins for group in split.groups]
        given = zip(
            split.groups,
            split.weights,
            torch.split(split.scale, sizes),
            torch.split(split.mean, sizes),
            torch.split(split.bias, [group.bands for group in split.groups]),
            strict=True,
        )
        for group, weight, scale, mean, bias in given:
            shape = (group.bands, group.bins, 1)
            scaled = weight * scale.reshape(shape)
            centre = (mean.reshape(shape) * scaled).sum(1)
            self.weights.append(_fixed(_as_channels(scaled)))
            self.biases.append(_fixed((bias[:, 0] - centre).flatten()))

    def forward(self, spectrum: Tensor) -> Tensor:
        batch, frames, bins = spectrum.shape
        # A power of any exponent takes ONNX Runtime twice as long as logarithm and exponential.
        x = torch.exp(self.exponent * torch.log(spectrum + self.floor))
        x = functional.pad(x, (0, self.bins - bins)).transpose(1, 2).unsqueeze(2)
        parts = torch.split(x, [group.bands * group.bins for group in self.groups], 1)
        embedded = [
            functional.conv2d(part, weight, bias, groups=group.bands)
            for part, weight, bias, group in zip(
                parts, self.weights, self.biases, self.groups, strict=True
            )
        ]
        bands = sum(group.bands for group in self.groups)
        return torch.cat(embedded, 1).permute(0, 2, 3, 1).reshape(batch, frames, bands, -1)


class _Norm(nn.Module):
    """`LayerNorm` of rows `[B, T, N, C]` without its scale and shift, which weights take over.

    Rows stand as the channels of an instance norm: ONNX Runtime sums them in half the time.
    """

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.eps = norm.eps

    def forward(self, x: Tensor) -> Tensor:
        batch, frames, bands, channels = x.shape
        rows = x.reshape(batch, frames * bands, channels)
        return functional.instance_norm(rows, eps=self.eps).reshape(x.shape)


class _Block(nn.Module):
    """`BandBlock` on `[B, T, N, C]`."""

    def __init__(self, block: BandBlock) -> None:
        super().__init__()
        self.dilation = block.dilation
        self.time_norm, self.band_norm = _Norm(block.time_norm), block.band_norm
        bands, hidden, channels = block.time_out.shape
        taps = block.time_in.reshape(bands, 3, channels, hidden).permute(0, 3, 2, 1)
        scale, shift = block.time_norm.weight, block.time_norm.bias
        self.time_in = _fixed((taps * scale.reshape(-1, 1)).reshape(-1, channels, 1, 3))
        moved = (taps * shift.reshape(-1, 1)).sum((2, 3))
        self.time_in_bias = _fixed((block.time_in_bias[:, 0] + moved).flatten())
        self.time_out = _fixed(_as_channels(block.time_out))
        self.time_out_bias = _fixed(block.time_out_bias.flatten())
        self.band_in = _fixed(block.band_in.unsqueeze(2))
        self.band_in_bias = _fixed(block.band_in_bias.flatten())
        self.band_out = _fixed(block.band_out.unsqueeze(2))

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        batch, frames, bands, channels = x.shape
        d = self.dilation
        buffer = torch.cat((past, x), 1)
        normed = self.time_norm(buffer).reshape(batch, 1, frames + 2 * d, -1).permute(0, 3, 1, 2)
        hidden = torch.relu(
            functional.conv2d(
                normed, self.time_in, self.time_in_bias, dilation=(1, d), groups=bands
            )
        )
        update = functional.conv2d(hidden, self.time_out, self.time_out_bias, groups=bands)
        update = update.permute(0, 2, 3, 1).reshape(batch, frames, bands, channels)
        y = buffer[:, d : d + frames] + update

        mixed = self.band_norm(y).reshape(batch * frames, bands, channels)
        mixed = torch.relu(functional.conv1d(mixed, self.band_in, self.band_in_bias))
        mixed = functional.conv1d(mixed, self.band_out).reshape(batch, frames, bands, channels)
        return y + mixed, buffer[:, frames:]


class _Highlighter(nn.Module):
    """`HighlighterBlock` with one product where several read the same; weights scale queries."""

    def __init__(self, block: HighlighterBlock) -> None:
        super().__init__()
        self.block = block
        own, cross = block.self_attention, block.cross_attention
        scale = own.head_dim**-0.5
        read = (own.to_q.weight * scale, own.to_k.weight, own.to_v.weight)
        self.read = _fixed(torch.cat(read))
        self.ask = _fixed(cross.to_q.weight * scale)
        self.tell = _fixed(torch.cat((cross.to_k.weight, cross.to_v.weight)))

    def forward(
        self, h: Tensor, tokens: Tensor, token_bias: Tensor, cache: Tensor
    ) -> tuple[Tensor, Tensor]:
        block, (batch, frames, width) = self.block, h.shape
        # Rows without a batch: their products take the bias with them.
        h = h.reshape(batch * frames, width)
        read = functional.linear(block.norm1(h), self.read)
        asked, new = torch.split(read, [width, 2 * width], 1)
        seen = torch.cat((cache, new.reshape(batch, frames, -1)), 1)
        h = h + _attended(block.self_attention, asked, seen, block.position_bias(frames))
        asked = functional.linear(block.norm2(h), self.ask)
        told = functional.linear(tokens, self.tell)
        h = h + _attended(block.cross_attention, asked, told, token_bias)
        h = h + block.feed_forward(block.norm3(h))
        return h.reshape(batch, frames, width), seen[:, frames:]


def _attended(attention: Attention, asked: Tensor, seen: Tensor, bias: Tensor) -> Tensor:
    """What queries `[B * T, D]` make of keys and values side by side `[B, L, 2 D]`."""
    batch, length, _ = seen.shape
    heads = attention.heads
    pairs = seen.reshape(batch, length, 2, heads, -1).permute(2, 0, 3, 1, 4)
    keys, values = pairs.unbind(0)
    queries = asked.reshape(batch, -1, heads, attention.head_dim).transpose(1, 2)
    mixed = torch.softmax(queries @ keys.transpose(2, 3) + bias, -1) @ values
    rows = mixed.transpose(1, 2).reshape(asked.shape[0], -1)
    return attention.to_out(rows)  # type: ignore[no-any-return]


class _Head(nn.Module):
    """`MaskHead` from `[B, T, N, C]` to the share of each source, `[B, T, F]` each.

    Shares depend on how logits differ: those of the first source are subtracted in the weights.
    """

    def __init__(self, head: MaskHead) -> None:
        super().__init__()
        self.groups, self.bins, self.norm = head.groups, head.bins, _Norm(head.norm)
        self.others = head.sources - 1
        self.weights = nn.ParameterList()
        moved = []
        for group, weight in zip(head.groups, head.weights, strict=True):
            each = weight.reshape(*weight.shape[:2], head.sources, group.bins)
            apart = each[:, :, 1:] - each[:, :, :1]
            self.weights.append(_fixed((apart * head.norm.weight.reshape(-1, 1, 1)).flatten(2)))
            shift = (apart * head.norm.bias.reshape(-1, 1, 1)).sum(1)
            moved.append(shift.transpose(0, 1).flatten(1))
        moves = torch.cat(moved, 1)[:, None, : self.bins]
        self.bias = _fixed(head.bias[1:] - head.bias[:1] + moves)

    def forward(self, stream: Tensor) -> tuple[Tensor, ...]:
        batch, frames, _, _ = stream.shape
        x = self.norm(stream).transpose(1, 2)
        found = []
        for group, part, weight in zip(
            self.groups,
            torch.split(x, [g.bands for g in self.groups], 1),
            self.weights,
            strict=True,
        ):
            logits = (part @ weight).reshape(batch, group.bands, frames, self.others, group.bins)
            found.append(logits.permute(0, 3, 2, 1, 4).flatten(3))
        logits = torch.cat(found, 3)[..., : self.bins] + self.bias
        # The first source's logits are zero, its power is one. Nobody hears what a bound of e^80
        # takes, and it costs less than to subtract the largest.
        others = torch.exp(logits.clamp(max=_LARGEST_LOGIT)).unbind(1)
        first = torch.reciprocal(sum(others, torch.ones(())))
        return (first, *(power * first for power in others))


def _blocks(blocks: nn.ModuleList) -> nn.ModuleList:
    return nn.ModuleList(_Block(block) for block in blocks if isinstance(block, BandBlock))


def _as_channels(weight: Tensor) -> Tensor:
    """Matrices of bands `[N, in, out]` as a convolution in N groups, `[N * out, in, 1, 1]`."""
    return weight.transpose(1, 2).flatten(0, 1).unsqueeze(2).unsqueeze(3)


def _fixed(values: Tensor) -> nn.Parameter:
    """A copy of weights that nobody trains."""
    return nn.Parameter(values.detach().clone().contiguous(), requires_grad=False)
