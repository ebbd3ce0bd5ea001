"""The `edge` family: a streaming band-split U-Net around the latent highlighting transformer.

    magnitudes -> band split -> encoder blocks -> latent frames -> highlighting transformer <- cues
                                     |  skip, delayed                      |  scale and shift
                                     +----------> decoder blocks <---------+
                                                       | shares -> meter --> | gains
                                                       +-------> mask <------+

The mask is the sum over speech, music and effects of each one's share in a bin times its gain in
the moment. A gain is what the cues ask for (`balance`) less what the sound has already: guessed
from the latent frames, which hear ahead, and measured on the shares of what has left. All gains
shrink together where the measure says that the mix needs no mending. Shares and gains are known
in training, and learning them apart is what makes hours suffice.

Nothing is normalised over time, and every tensor that carries the past is an explicit state, so
a chunk of any length gives the same masks as the whole file at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from semmix.cues.types import CUE_TYPES
from semmix.nn.bands import EDGE_BANDS, BandGroup, BandSplit, MaskHead, band_count, padded_bins
from semmix.nn.blocks import BandBlock, delayed
from semmix.nn.context import ContextEncoder
from semmix.nn.highlighter import HighlighterBlock
from semmix.nn.meter import LevelMeter, MeteredGain
from semmix.specs import MAX_LAYERS, AudioSpec, ChunkSpec, ModelSpec, StateSpec, StftSpec

NEPERS_PER_DB = 0.1151292546497023
"""ln(10) / 20: decibels to natural logarithms of a linear gain."""


PROGRAMME_LUFS = -22.0
"""Integrated loudness of the training scenes in balance: mean -21.8, standard deviation 1.9."""

_NO_SHARE = 1e-30
"""Weight of a shot that is not on screen: so small that no query turns it up."""


@dataclass(frozen=True, slots=True)
class EdgeConfig:
    """Sizes of an edge network.

    Attributes:
        channels: width of each band's stream.
        encoder_dilations, decoder_dilations: time reach of the blocks, in frames; their sum
            plus `latent_lookahead` is the look-ahead.
        stride: STFT frames in one latent frame.
        film_rank: numbers through which a latent frame acts on the stream, 0 for as many as it has.
        window: latent frames self-attention looks back.
        context_layers: L, depth of the context encoder.
        kept_frames: frames in one exported chunk, a multiple of `stride`.
        meter_memory_s: time in which the measured levels of sources fade, 0 for no meter.
        programme_lufs: mean integrated loudness of the mixes that training calls right.
        sources: what the mask tells apart, in the order of the training stems.
        dropout: in training, the chance of each band of a clip, of each latent value and of each
            channel that shares are read from to be left out.
    """

    name: str = "edge"
    sample_rate_hz: int = 48_000
    n_fft: int = 2048
    hop_samples: int = 1024
    groups: tuple[BandGroup, ...] = EDGE_BANDS
    channels: int = 32
    hidden: int = 32
    band_hidden: int = 64
    encoder_dilations: tuple[int, ...] = (1, 2, 4, 8)
    decoder_dilations: tuple[int, ...] = (1, 2)
    latent_lookahead: int = 24
    stride: int = 4
    film_rank: int = 0
    width: int = 160
    heads: int = 5
    feed_forward: int = 288
    depth: int = 3
    window: int = 96
    context_layers: int = 2
    embedding_dim: int = 384
    max_segments: int = 4
    max_gain_db: float = 18.0
    kept_frames: int = 96
    meter_memory_s: float = 0.0
    programme_lufs: float = PROGRAMME_LUFS
    sources: tuple[str, ...] = ("speech", "music", "effects")
    dropout: float = 0.0
    text_encoder: str = ""

    @property
    def lookahead_frames(self) -> int:
        """Frames between a mask and the newest frame it was computed from."""
        return sum(self.encoder_dilations) + self.latent_lookahead + sum(self.decoder_dilations)

    def spec(self) -> ModelSpec:
        """The numbers the runtime needs."""
        bands = band_count(self.groups)
        blocks = [(f"encoder{i}", d) for i, d in enumerate(self.encoder_dilations)]
        blocks += [(f"decoder{i}", d) for i, d in enumerate(self.decoder_dilations)]
        # Time comes first in all of them, as chunks are joined in a graph that wastes no copy.
        state = [StateSpec(n, (2 * d, bands, self.channels)) for n, d in blocks]
        state.append(StateSpec("skip", (self.latent_lookahead, bands, self.channels)))
        state += [StateSpec(f"cache{i}", (self.window, 2 * self.width)) for i in range(self.depth)]
        if self.meter_memory_s:
            state.append(StateSpec("heard", (self.lookahead_frames, self.n_fft // 2 + 1)))
            state.append(StateSpec("levels", (2 * len(self.sources) + 1,)))
        return ModelSpec(
            name=self.name,
            audio=AudioSpec(self.sample_rate_hz),
            stft=StftSpec(self.n_fft, self.hop_samples),
            chunk=ChunkSpec(0, self.kept_frames, self.lookahead_frames),
            cue_types=tuple(c.value for c in CUE_TYPES),
            embedding_dim=self.embedding_dim,
            token_dim=self.width,
            max_segments=self.max_segments,
            max_gain_db=self.max_gain_db,
            programme_lufs=self.programme_lufs,
            text_encoder=self.text_encoder,
            state=tuple(state),
        )


def config_from_dict(data: dict[str, Any]) -> EdgeConfig:
    """Rebuild a configuration from JSON values.

    Raises:
        TypeError, ValueError: fields do not fit.
    """
    values = dict(data)
    values["groups"] = tuple(BandGroup(int(g["bands"]), int(g["bins"])) for g in data["groups"])
    for key in ("encoder_dilations", "decoder_dilations"):
        values[key] = tuple(int(d) for d in data[key])
    values["sources"] = tuple(str(s) for s in data["sources"])
    config = EdgeConfig(**values)
    stacks = (config.groups, config.encoder_dilations, config.decoder_dilations)
    if max(*map(len, stacks), config.depth, config.context_layers) > MAX_LAYERS:
        raise ValueError(f"a stack has more than {MAX_LAYERS} layers")
    return config


@dataclass(frozen=True, slots=True)
class Masking:
    """What the network finds in a chunk.

    Attributes:
        mask: linear gain `[B, T, F]`, delayed by the look-ahead.
        shares: share of each source in each bin `[B, S, T, F]`, delayed likewise.
        gains: gain of each source in each latent frame, in nepers `[B, T / stride, S]`.
        state: the next state tensors in the order of the spec.
    """

    mask: Tensor
    shares: Tensor
    gains: Tensor
    state: tuple[Tensor, ...]


class EdgeSemMix(nn.Module):
    """Mask network of the `edge` family.

    `context_encoder` turns cue embeddings into tokens, once a segment; `forward` masks a chunk.
    """

    def __init__(self, config: EdgeConfig) -> None:
        super().__init__()
        self.config = config
        c = config
        bins = c.n_fft // 2 + 1
        if padded_bins(c.groups) < bins:
            raise ValueError(f"the bands cover {padded_bins(c.groups)} of {bins} bins")
        bands = band_count(c.groups)
        self.bands = bands
        self.split = BandSplit(c.groups, c.channels)
        self.drop_bands = nn.Dropout2d(c.dropout)
        self.drop = nn.Dropout(c.dropout)

        def block(dilation: int) -> BandBlock:
            return BandBlock(bands, c.channels, c.hidden, c.band_hidden, dilation)

        self.encoder = nn.ModuleList(block(d) for d in c.encoder_dilations)
        self.decoder = nn.ModuleList(block(d) for d in c.decoder_dilations)
        stream = bands * c.channels
        self.to_latent = nn.Linear(stream, c.width)
        self.fold = nn.Linear(c.stride * c.width, c.width)
        self.transformer_blocks = nn.ModuleList(
            HighlighterBlock(c.width, c.heads, c.feed_forward, c.window) for _ in range(c.depth)
        )
        self.latent_norm = nn.LayerNorm(c.width)
        self.narrow: nn.Module = nn.Identity()
        if c.film_rank:
            self.narrow = nn.Linear(c.width, c.film_rank, bias=False)
        self.from_latent = nn.Linear(c.film_rank or c.width, 2 * stream)
        nn.init.normal_(self.from_latent.weight, std=0.02)
        nn.init.zeros_(self.from_latent.bias)
        self.context_encoder = ContextEncoder(
            len(CUE_TYPES), c.embedding_dim, c.width, c.context_layers, c.heads
        )
        self.head = MaskHead(c.groups, c.channels, bins, len(c.sources))
        self.balance_head = nn.Linear(c.width, len(c.sources))
        self.gain_head = nn.Linear(c.width, len(c.sources))
        self.max_nepers = c.max_gain_db * NEPERS_PER_DB
        self.metered_gain: MeteredGain | None = None
        if c.meter_memory_s:
            meter = LevelMeter(
                StftSpec(c.n_fft, c.hop_samples),
                c.sample_rate_hz,
                c.stride,
                len(c.sources),
                c.meter_memory_s,
                c.programme_lufs,
            )
            self.metered_gain = MeteredGain(meter)

    def initial_state(self, batch: int = 1) -> tuple[Tensor, ...]:
        """Zero state in the spec's order, where the weights are."""
        device = self.balance_head.weight.device
        return tuple(torch.zeros(batch, *s.shape, device=device) for s in self.config.spec().state)

    def balance(self, tokens: Tensor) -> Tensor:
        """Level of each source that the cues ask for, in nepers `[..., S]`.

        Args:
            tokens: context tokens `[..., K, D]`.
        """
        return self.balance_head(tokens.mean(-2))  # type: ignore[no-any-return]

    def forward(
        self, spectrum: Tensor, tokens: Tensor, weights: Tensor, *state: Tensor
    ) -> tuple[Tensor, ...]:
        """The mask `[B, T, F]` of `masking`, and the next state tensors, as graphs give them."""
        found = self.masking(spectrum, tokens, weights, *state)
        return (found.mask, *found.state)

    def masking(self, spectrum: Tensor, tokens: Tensor, weights: Tensor, *state: Tensor) -> Masking:
        """Mask a chunk; shapes as in `semmix_rt.engines.base.Engine.run`.

        Args:
            spectrum: scaled magnitudes `[B, T, F]`, T a multiple of the stride.
            tokens: `[B, S, K, D]`.
            weights: `[B, T, S]`.
            state: tensors in the order of the spec.
        """
        c = self.config
        batch, frames, _ = spectrum.shape
        blocks = len(self.encoder) + len(self.decoder)
        past = [s.permute(2, 0, 1, 3) for s in state[: blocks + 1]]
        caches = state[blocks + 1 : blocks + 1 + c.depth]
        after: list[Tensor] = []

        x = self.split(spectrum)
        if self.training:
            x = self.drop_bands(x.transpose(0, 1)).transpose(0, 1)
        for i, encoder in enumerate(self.encoder):
            x, memory = encoder(x, past[i])
            after.append(memory)

        latent = self.to_latent(x.permute(1, 2, 0, 3).reshape(batch, frames, -1))
        h, wanted, had, next_caches = self.highlight(
            latent, tokens, weights, caches, self.transformer_blocks
        )

        steps = h.shape[1]
        film = self.from_latent(self.narrow(h)).reshape(batch, steps, self.bands, -1)
        scale, shift = film.permute(2, 0, 1, 3).unsqueeze(3).chunk(2, 4)
        skip, following = delayed(x, past[blocks], 2)
        held = skip.reshape(self.bands, batch, steps, c.stride, c.channels)
        x = (held * (1 + scale) + shift).reshape(self.bands, batch, frames, c.channels)
        for i, decoder in enumerate(self.decoder):
            x, memory = decoder(x, past[len(self.encoder) + i])
            after.append(memory)
        after.append(following)
        if self.training:
            # Whole channels of a clip: a random number for each value would take longer to draw
            # than the block before takes to compute.
            x = x * self.drop(x.new_ones(1, batch, 1, c.channels))
        shares = self.head(x)
        gains, levels = self.gains(spectrum, shares, wanted, had, state[blocks + 1 + c.depth :])
        linear = torch.exp(gains).repeat_interleave(c.stride, 1)
        mask = (shares * linear.transpose(1, 2).unsqueeze(-1)).sum(1)
        next_state = (*(m.permute(1, 2, 0, 3) for m in after), *next_caches, *levels)
        return Masking(mask, shares, gains, next_state)

    def highlight(
        self,
        latent: Tensor,
        tokens: Tensor,
        weights: Tensor,
        caches: Sequence[Tensor],
        blocks: Iterable[nn.Module],
    ) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
        """Let the cues act on the latent frames.

        Args:
            latent: of each STFT frame `[B, T, D]`.
            tokens, weights: as in `masking`.
            caches: state of the transformer's blocks.
            blocks: the transformer's, or others that compute the same.

        Returns:
            latent frames `[B, T / stride, D]`; of each source, in nepers `[B, T / stride, S]`, the
            level that the cues ask for and the gain that the sound needs besides; the next caches.
        """
        batch, frames, _ = latent.shape
        steps, stride = frames // self.config.stride, self.config.stride
        h = self.fold(self.drop(torch.relu(latent)).reshape(batch, steps, -1))
        share = weights.reshape(batch, steps, stride, -1).mean(2)
        of_shots = torch.log(share.clamp(min=_NO_SHARE))
        token_bias = of_shots.repeat_interleave(tokens.shape[2], 2).unsqueeze(1)
        flat_tokens = tokens.reshape(batch, -1, tokens.shape[3])
        following = []
        for layer, cache in zip(blocks, caches, strict=True):
            h, next_cache = layer(h, flat_tokens, token_bias, cache)
            following.append(next_cache)
        h = self.latent_norm(h)
        wanted = (share.unsqueeze(-1) * self.balance(tokens).unsqueeze(1)).sum(2)
        return h, wanted, self.gain_head(h), following

    def gains(
        self,
        spectrum: Tensor,
        shares: Tensor,
        wanted: Tensor,
        had: Tensor,
        heard: Sequence[Tensor],
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Bounded gain of each source in nepers `[B, T / stride, S]`, and the meter's next state.

        Args:
            spectrum, shares: of the chunk, `[B, T, F]` and `[B, S, T, F]`.
            wanted, had: from `highlight`.
            heard: the meter's state, nothing without a meter.
        """
        if self.metered_gain is None:
            return self._bounded(wanted + had), ()
        correction, need, following = self.metered_gain(spectrum, shares, wanted, had, *heard)
        return need * self._bounded(wanted + had + correction), following

    def _bounded(self, nepers: Tensor) -> Tensor:
        return self.max_nepers * torch.tanh(nepers / self.max_nepers)
