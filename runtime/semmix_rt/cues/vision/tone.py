"""Light, colour and motion of a picture: statistics, no model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DARK, DIM, BRIGHT = 0.16, 0.34, 0.5
"""Mean luma (0 to 1) below which a picture is dark or dim, and above which it is bright."""
MUTED, VIVID = 0.1, 0.3
"""Mean chroma below which colours are muted, and above which they are vivid."""
WARMTH = 0.06
"""Mean red minus blue beyond which a picture is warm (or, negative, cold)."""
STILL, CALM, FAST = 0.01, 0.05, 0.15
"""Luma change to the frame before: below still, below calm, above fast."""


@dataclass(frozen=True, slots=True)
class Tone:
    """Words of `semmix.cues.sentences`, None where the picture is between them."""

    light: str | None
    colour: str | None
    motion: str | None


def tone(image: NDArray[np.uint8], motion: float) -> Tone:
    """Name light, colour and motion.

    Args:
        image: RGB, uint8 `[H, W, 3]`.
        motion: luma change to the previous frame of the shot, 0 to 1; NaN or 0 when unknown.
    """
    step = max(1, min(image.shape[:2]) // 90)
    pixels = image[::step, ::step].reshape(-1, 3).astype(np.float32) / 255.0
    luma = float((pixels @ np.array([0.2126, 0.7152, 0.0722], np.float32)).mean())
    chroma = float((pixels.max(axis=1) - pixels.min(axis=1)).mean())
    warmth = float((pixels[:, 0] - pixels[:, 2]).mean())
    return Tone(_light(luma), _colour(chroma, warmth), _motion(motion))


def _light(luma: float) -> str | None:
    if luma < DARK:
        return "dark"
    if luma < DIM:
        return "dim"
    return "bright" if luma > BRIGHT else None


def _colour(chroma: float, warmth: float) -> str | None:
    if chroma > VIVID:
        return "vivid"
    if chroma < MUTED:
        return "muted"
    if abs(warmth) > WARMTH:
        return "warm" if warmth > 0 else "cold"
    return None


def _motion(motion: float) -> str | None:
    if not np.isfinite(motion) or motion <= 0.0:
        return None
    if motion < STILL:
        return "still"
    if motion < CALM:
        return "calm"
    return "fast" if motion > FAST else "lively"
