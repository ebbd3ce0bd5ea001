"""The PyTorch networks of the SemMix family."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, overload

from semmix.nn.bands import BandGroup
from semmix.nn.base import BaseConfig, BaseSemMix
from semmix.nn.edge import EdgeConfig, EdgeSemMix

PRESETS: dict[str, EdgeConfig] = {
    "edge": EdgeConfig(film_rank=128, meter_memory_s=20.0),
    "tiny": EdgeConfig(
        name="tiny",
        groups=(BandGroup(8, 16), BandGroup(3, 299)),
        channels=8,
        hidden=8,
        band_hidden=8,
        encoder_dilations=(1, 2),
        decoder_dilations=(1,),
        film_rank=24,
        latent_lookahead=4,
        width=32,
        heads=2,
        feed_forward=32,
        depth=1,
        window=8,
        context_layers=1,
        kept_frames=16,
        meter_memory_s=2.0,
    ),
}
"""Named sizes of the edge family. `tiny` has the shape of `edge` and exists for tests."""

BASE_PRESET = "base"
"""The paper's own network, which is no stream and so stands beside the edge family."""


@overload
def build(preset: Literal["base"], **overrides: Any) -> BaseSemMix: ...


@overload
def build(preset: str, **overrides: Any) -> EdgeSemMix: ...


def build(preset: str, **overrides: Any) -> EdgeSemMix | BaseSemMix:
    """Make an untrained network from a preset name, with single sizes replaced, ready to run.

    Args:
        preset: a name in `PRESETS`, or `base`.
        overrides: fields of `EdgeConfig`, or of `BaseConfig` for `base`.

    Raises:
        ValueError: no such preset, or sizes that do not fit together.
    """
    if preset == BASE_PRESET:
        return BaseSemMix(BaseConfig(**overrides))
    if preset not in PRESETS:
        raise ValueError(f"no preset {preset!r}; there are {', '.join((*PRESETS, BASE_PRESET))}")
    return EdgeSemMix(replace(PRESETS[preset], **overrides)).eval()


__all__ = ["PRESETS", "BaseConfig", "BaseSemMix", "EdgeConfig", "EdgeSemMix", "build"]
