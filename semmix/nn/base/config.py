"""Sizes of the `base` network, the paper's own (VisAH, sections 2 to 4; SemMix, its depth L)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from semmix.specs import MAX_LAYERS

SAMPLE_RATE_HZ = 44_100
"""Rate of the mono sound the network hears."""

CLIP_SAMPLES = 441_000
"""Length of a training clip, 10 s. Every other length works as well."""

CONTEXT_TOKENS = 10
"""Context vectors of a training clip, one a second."""

N_FFT = 4096
HOP_SAMPLES = 1024
BINS = N_FFT // 2
"""Rows of the spectrogram: the Nyquist row is dropped. Five levels take them to one, as they
take the waveform to one value a hop: these three numbers hang on the architecture."""

TIME_LEVEL = 5
"""The innermost level: no frequencies left, both branches merged, convolution over time."""

MERGE_LEVEL = 4
"""The level at which the time branch joins the frequency branch, the last with frequencies."""

Context = Literal["text", "vision", "none"]
ContextAttention = Literal["time", "released"]

CONTEXT_DIMS: dict[str, int] = {"text": 4096, "vision": 768}
"""Width of a context vector: T5-XXL's for captions, CLIP ViT-L/14's for frames."""


@dataclass(frozen=True, slots=True)
class Level:
    """One level of the U-Net, with the numbers both branches share.

    Attributes:
        channels_in, channels: feature maps before and after the level.
        kernel, stride, padding: of the convolution along frequency; along time on the innermost.
        deep: whether the level has group norms, an LSTM and local attention.
    """

    index: int
    channels_in: int
    channels: int
    kernel: int
    stride: int
    padding: int
    deep: bool

    @property
    def over_frequency(self) -> bool:
        """Whether the level still has a frequency axis, and a counterpart in the time branch."""
        return self.index <= MERGE_LEVEL


@dataclass(frozen=True, slots=True)
class BaseConfig:
    """Sizes of a base network; the defaults are the published ones.

    Attributes:
        context: what the context vectors are: text embeddings, picture features, or none. Without
            any, the cross-attention reads the sound itself, as the published ablation does.
        context_layers: L, depth of the context encoder; without meaning where there is no context.
        context_attention: `time` lets context vectors see each other within a clip. `released`
            repeats the published code, which attends across the clips of a batch instead: only so
            do published weights give published results.
        channels: feature maps of the outermost level; each further one has twice as many.
        width, heads: size of the latent highlighting transformer.
        depth: its blocks.

    Raises:
        ValueError: a choice that does not exist, or sizes that do not fit together.
    """

    name: str = "base"
    context: Context = "text"
    context_layers: int = 3
    context_attention: ContextAttention = "time"
    channels: int = 24
    width: int = 512
    heads: int = 16
    depth: int = 6

    def __post_init__(self) -> None:
        _check_choice("context", self.context, get_args(Context))
        _check_choice("context_attention", self.context_attention, get_args(ContextAttention))
        for label, layers in (("context_layers", self.context_layers), ("depth", self.depth)):
            if not 0 <= layers <= MAX_LAYERS:
                raise ValueError(f"{label} is {layers}: a depth is 0 to {MAX_LAYERS}")
        if self.channels % 4:
            raise ValueError(f"channels is {self.channels}, not a multiple of 4")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of {self.heads} heads")

    @property
    def context_dim(self) -> int | None:
        """Width D of a context vector, or None for a network without context."""
        return CONTEXT_DIMS.get(self.context)

    @property
    def latent_channels(self) -> int:
        """Feature maps of the innermost level, 768 as published."""
        return self.levels[-1].channels

    @property
    def levels(self) -> tuple[Level, ...]:
        """The levels from the outermost (0) to the innermost (5)."""
        levels = []
        bins, channels_in, channels = BINS, 1, self.channels
        for index in range(TIME_LEVEL + 1):
            if index == TIME_LEVEL:
                kernel, stride, padding = 4, 2, 1
            else:
                # The last level over frequency takes all bins that are left as one.
                kernel, stride, padding = 8, 4, 2 if bins > 8 else 0
            deep = index >= MERGE_LEVEL
            levels.append(Level(index, channels_in, channels, kernel, stride, padding, deep))
            bins //= stride
            channels_in, channels = channels, 2 * channels
        return tuple(levels)


def _check_choice(label: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{label} is {value!r}: choose one of {', '.join(choices)}")
