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
BLACK = 0.03
"""Rows and columns without a brighter pixel at an edge are bars, not picture."""


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
    pixels = without_bars(image[::step, ::step].astype(np.float32) / 255.0).reshape(-1, 3)
    red, green, blue = (float(v) for v in pixels.mean(axis=0))
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    chroma = float((pixels.max(axis=1) - pixels.min(axis=1)).mean())
    # Dark pictures have little chroma whatever their colour: judge them as if lit.
    lift = max(1.0, DARK / max(luma, BLACK / 2))
    return Tone(_light(luma), _colour(chroma * lift, (red - blue) * lift), _motion(motion))


def without_bars(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cut the black bars of letterboxed and pillarboxed films.

    Args:
        pixels: `[H, W, 3]`, 0 to 1.

    Returns:
        `[H', W', 3]`; the whole picture where all of it is black.
    """
    lit = pixels.max(axis=-1) > BLACK
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    if not rows.size:
        return pixels
    return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


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
