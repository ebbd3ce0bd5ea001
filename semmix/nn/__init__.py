"""The PyTorch networks of the SemMix family."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from semmix.nn.bands import BandGroup
from semmix.nn.edge import EdgeConfig, EdgeSemMix

PRESETS: dict[str, EdgeConfig] = {
    "edge": EdgeConfig(),
    "tiny": EdgeConfig(
        name="tiny",
        groups=(BandGroup(8, 16), BandGroup(3, 299)),
        channels=8,
        hidden=8,
        band_hidden=8,
        encoder_dilations=(1, 2),
        decoder_dilations=(1,),
        latent_lookahead=4,
        width=32,
        heads=2,
        feed_forward=32,
        depth=1,
        window=8,
        context_layers=1,
        kept_frames=16,
    ),
}
"""Named sizes. `tiny` has the shape of `edge` and exists for tests."""


def build(preset: str, **overrides: Any) -> EdgeSemMix:
    """Make an untrained network from a preset name, with single sizes replaced.

    Raises:
        ValueError: no such preset.
    """
    if preset not in PRESETS:
        raise ValueError(f"no preset {preset!r}; there are {', '.join(PRESETS)}")
    return EdgeSemMix(replace(PRESETS[preset], **overrides))


__all__ = ["PRESETS", "EdgeConfig", "EdgeSemMix", "build"]
