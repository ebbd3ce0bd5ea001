"""The dual-branch U-Net: a spectrogram and a waveform branch that share their innermost levels.

    magnitudes -> encoder 0..3 -+-> encoder 4 -> encoder 5 -> latent
    waveform  -> tencoder 0..3 -+  (tencoder 4 joins)            |  what happens here is not ours
    mask      <- decoder 5..2 <-+-- decoder 1 <- decoder 0 <- latent
    waveform  <- tdecoder 4..1 <+  (tdecoder 0 parts)

Every level's result also reaches its decoder by a skip. Parameter names and numbers are those of
Hybrid Demucs with one source, one channel and magnitudes (VisAH, section 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from semmix.nn.base.config import BINS, HOP_SAMPLES, MERGE_LEVEL, TIME_LEVEL, BaseConfig
from semmix.nn.base.layers import DecoderLayer, Downsampler, EncoderLayer, Upsampler

EMBEDDING_GAIN = 0.2
EMBEDDING_SCALE = 10.0
RESCALE_STD = 0.1


@dataclass(frozen=True, slots=True)
class Encoded:
    """What the encoders hand to the decoders.

    Attributes:
        latent: innermost features `[B, 768, ceil(T / 2)]`.
        skips: results of the encoder, outermost first, the latent among them.
        time_skips: results of the time encoder before the branches merge, outermost first.
        time_lengths: lengths of the time encoder's inputs, outermost first, in samples at
            their level.
        frames: T.
    """

    latent: Tensor
    skips: tuple[Tensor, ...]
    time_skips: tuple[Tensor, ...]
    time_lengths: tuple[int, ...]
    frames: int


class FrequencyEmbedding(nn.Module):
    """A learned vector for each bin of the outermost level, smooth along frequency at the start.

    Weights are kept ten times smaller than what they stand for, so they learn faster.
    """

    def __init__(self, bins: int, channels: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(bins, channels)
        with torch.no_grad():
            # A random walk, divided by the root of its steps: unit variance in every bin.
            walk = self.embedding.weight.cumsum(0)
            steps = torch.arange(1, bins + 1, dtype=walk.dtype, device=walk.device)
            self.embedding.weight.copy_(walk / steps.sqrt()[:, None] / EMBEDDING_SCALE)

    def forward(self) -> Tensor:
        """Vectors `[1, C, F, 1]`, to add to a spectrogram."""
        return self.embedding.weight.t()[None, :, :, None] * EMBEDDING_SCALE


class Backbone(nn.Module):
    """Encoders and decoders of both branches; a subclass does something with the latent."""

    def __init__(self, config: BaseConfig) -> None:
        super().__init__()
        self.config = config
        levels = config.levels
        outer = levels[:MERGE_LEVEL]
        merge = levels[MERGE_LEVEL]
        self.encoder = nn.ModuleList(EncoderLayer(v, time_branch=False) for v in levels)
        self.decoder = nn.ModuleList(DecoderLayer(v, time_branch=False) for v in levels[::-1])
        self.tencoder = nn.ModuleList(EncoderLayer(v, time_branch=True) for v in outer)
        self.tencoder.append(Downsampler(merge, time_branch=True))
        self.tdecoder = nn.ModuleList([Upsampler(merge, time_branch=True)])
        self.tdecoder.extend(DecoderLayer(v, time_branch=True) for v in outer[::-1])
        self.freq_emb = FrequencyEmbedding(BINS // levels[0].stride, config.channels)
        _rescale(self)

    def encode(self, magnitude: Tensor, waveform: Tensor) -> Encoded:
        """Run the encoders.

        Args:
            magnitude: `[B, 1, 2048, T]`, as the STFT gives it.
            waveform: `[B, 1, N]`, of mean 0 and standard deviation 1.

        Raises:
            ValueError: shapes that do not belong together; T is `ceil(N / 1024)`.
        """
        _check_shapes(magnitude, waveform)
        x, wave = magnitude, waveform
        skips: list[Tensor] = []
        time_skips: list[Tensor] = []
        time_lengths: list[int] = []
        for index, layer in enumerate(self.encoder):
            injected = None
            if index <= MERGE_LEVEL:
                time_lengths.append(wave.shape[2])
                wave = self.tencoder[index](wave)
                if index == MERGE_LEVEL:
                    injected = wave
                else:
                    time_skips.append(wave)
            x = layer(x, injected)
            if index == 0:
                x = x + EMBEDDING_GAIN * self.freq_emb()
            skips.append(x)
        return Encoded(x, tuple(skips), tuple(time_skips), tuple(time_lengths), magnitude.shape[3])

    def decode(self, latent: Tensor, encoded: Encoded) -> tuple[Tensor, Tensor]:
        """Run the decoders.

        Args:
            latent: `[B, 768, ceil(T / 2)]`, what became of `encoded.latent`.
            encoded: from `encode`.

        Returns:
            the mask `[B, 1, 2048, T]`, raw, without bounds, and the time branch's waveform
            `[B, 1, N]` on the scale of its input.
        """
        x = self.decoder[0](latent, encoded.skips[TIME_LEVEL], encoded.frames)
        bins = BINS // 4**MERGE_LEVEL
        merged, parting = self.decoder[1], self.tdecoder[0]
        assert isinstance(merged, DecoderLayer)
        assert isinstance(parting, Upsampler)
        blended = merged.blend(x, encoded.skips[MERGE_LEVEL])
        x = merged.upsample(blended, bins)
        wave = parting.upsample(blended.squeeze(2), encoded.time_lengths[MERGE_LEVEL])
        for level in range(MERGE_LEVEL - 1, -1, -1):
            bins *= 4
            x = self.decoder[TIME_LEVEL - level](x, encoded.skips[level], bins)
            wave = self.tdecoder[MERGE_LEVEL - level](
                wave, encoded.time_skips[level], encoded.time_lengths[level]
            )
        return x, wave


def _check_shapes(magnitude: Tensor, waveform: Tensor) -> None:
    if magnitude.dim() != 4 or tuple(magnitude.shape[1:3]) != (1, BINS):
        raise ValueError(f"magnitudes are [B, 1, {BINS}, T], not {list(magnitude.shape)}")
    if waveform.dim() != 3 or waveform.shape[1] != 1:
        raise ValueError(f"waveforms are [B, 1, N], not {list(waveform.shape)}")
    frames = -(-waveform.shape[2] // HOP_SAMPLES)
    if magnitude.shape[0] != waveform.shape[0] or magnitude.shape[3] != frames:
        raise ValueError(
            f"{waveform.shape[0]} waveforms of {waveform.shape[2]} samples have {frames} frames "
            f"each, but the magnitudes are {list(magnitude.shape)}"
        )


@torch.no_grad()
def _rescale(module: nn.Module) -> None:
    """Bring the weights of all convolutions half way, in decibels, to one common size."""
    kinds = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)
    for layer in module.modules():
        if isinstance(layer, kinds):
            scale = (layer.weight.std() / RESCALE_STD).sqrt()
            layer.weight /= scale
            if layer.bias is not None:
                layer.bias /= scale
