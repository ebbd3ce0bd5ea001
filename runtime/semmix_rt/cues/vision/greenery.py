"""Plants, told by their colour and their fine grain: no scene classifier knows a plain meadow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semmix_rt.cues.vision.resize import resize
from semmix_rt.cues.vision.tone import without_bars

SIDE_PX = 160
MIN_SHARE = 0.36
MIN_GRAIN = 0.05
"""Mean change of luma to the pixel beside and below, 0 to 2: leaves and grass have 0.055 and
more at this size, green walls, logos and blurred backgrounds 0.04 and less."""


def greenery(image: NDArray[np.uint8]) -> float:
    """Share of the picture that plants cover, 0 where too little of it looks like plants.

    Args:
        image: RGB `[H, W, 3]`.
    """
    scale = SIDE_PX / max(image.shape[:2])
    height, width = (max(2, round(n * scale)) for n in image.shape[:2])
    pixels = without_bars(resize(image, height, width) / 255.0)
    red, green, blue = (pixels[..., c] for c in range(3))
    brightest = pixels.max(axis=-1)
    saturation = (brightest - pixels.min(axis=-1)) / np.maximum(brightest, 1e-3)
    leafy = (green >= 0.98 * red) & (green > 1.05 * blue) & (saturation > 0.2) & (brightest > 0.12)
    share = float(leafy.mean())
    if share < MIN_SHARE or min(leafy.shape) < 2:
        return 0.0
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    grain = np.abs(np.diff(luma, axis=1))[:-1] + np.abs(np.diff(luma, axis=0))[:, :-1]
    inside = leafy[:-1, :-1]
    if not inside.any() or float(grain[inside].mean()) < MIN_GRAIN:
        return 0.0
    return share
