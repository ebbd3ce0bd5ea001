"""Where one shot ends and the next begins, told from sparsely sampled frames.

PySceneDetect needs OpenCV and every frame decoded, which costs more than the whole remix of a
film may. Encoders already place key frames on cuts, so the frames at hand suffice: two of them
lie in different shots when their colours or their layout differ too much. Colours are compared
as a smoothed joint histogram of luma and chroma (L1), which camera and subject movement hardly
change; the layout as the correlation of luma block means, which separates shots of one place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CUT = 0.5
"""Difference from which two samples lie in different shots.

Set on neighbouring key frames of an animated film and live clips, seconds apart, judged by eye:
shots that go on lie below 0.45 but for fast pans, cuts above 0.55 but for cuts between like views.
"""

_LAYOUT_WEIGHT = 0.25
_LUMA_BINS, _CHROMA_BINS = 8, 12
_ROWS, _COLUMNS = 9, 16
_GRID_PX = 128
_FLAT_LEVELS = 2.0


@dataclass(frozen=True, slots=True)
class Signature:
    """What is kept of a frame to compare it with others.

    Attributes:
        histogram: float32 `[luma, blue difference, red difference]`, sums to 1.
        blocks: float32 `[9, 16]` mean luma, 0 to 1.
    """

    histogram: NDArray[np.float32]
    blocks: NDArray[np.float32]


def signature(image: NDArray[np.uint8]) -> Signature:
    """Summarise one frame.

    Args:
        image: uint8 RGB `[H, W, 3]` of any size.
    """
    step = max(1, max(image.shape[:2]) // _GRID_PX)
    pixels = image[step // 2 :: step, step // 2 :: step].astype(np.float32)
    # BT.601 luma and colour differences; chroma is doubled because pictures rarely fill it.
    luma = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    blue = 2 * 0.564 * (pixels[..., 2] - luma) + 128
    red = 2 * 0.713 * (pixels[..., 0] - luma) + 128
    index = _bins(luma, _LUMA_BINS)
    for channel in (blue, red):
        index = index * _CHROMA_BINS + _bins(channel, _CHROMA_BINS)
    shape = (_LUMA_BINS, _CHROMA_BINS, _CHROMA_BINS)
    counts = np.bincount(index.ravel(), minlength=int(np.prod(shape)))
    histogram = (counts.reshape(shape) / luma.size).astype(np.float32)
    for axis in range(3):
        histogram = _smooth(histogram, axis)
    return Signature(histogram, _block_means(luma) / 255.0)


def difference(first: Signature, second: Signature) -> float:
    """How much two frames differ: 0 for equal ones, about 1.5 for opposites."""
    colours = 0.5 * float(np.abs(first.histogram - second.histogram).sum())
    a = first.blocks - first.blocks.mean()
    b = second.blocks - second.blocks.mean()
    # Flat pictures have no layout: the constant keeps noise from counting as one.
    flat = (_FLAT_LEVELS / 255.0) ** 2
    alike = (np.mean(a * b) + flat) / np.sqrt((np.mean(a * a) + flat) * (np.mean(b * b) + flat))
    return colours + _LAYOUT_WEIGHT * (1.0 - float(alike))


def luma_change(first: Signature, second: Signature) -> float:
    """Mean absolute change of block luma, 0 to 1: the measure of motion within a shot."""
    return float(np.abs(first.blocks - second.blocks).mean())


def _bins(values: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """Bin numbers of 8-bit levels."""
    numbers: NDArray[np.intp] = np.clip(values * (count / 256.0), 0, count - 1).astype(np.intp)
    return numbers


def _smooth(histogram: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Spread each bin over its neighbours, so that a slight shift of light is no jump."""
    moved = np.moveaxis(histogram, axis, 0)
    padded = np.concatenate([moved[:1], moved, moved[-1:]])
    smooth = (0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:]).astype(np.float32)
    back: NDArray[np.float32] = np.moveaxis(smooth, 0, axis)
    return back


def _block_means(luma: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean over a grid of 9 x 16 blocks; small pictures repeat their pixels."""
    rows = np.linspace(0, luma.shape[0], _ROWS + 1).astype(np.intp)[:-1]
    columns = np.linspace(0, luma.shape[1], _COLUMNS + 1).astype(np.intp)[:-1]
    if luma.shape[0] < _ROWS or luma.shape[1] < _COLUMNS:
        return luma[np.ix_(rows, columns)]
    sums = np.add.reduceat(np.add.reduceat(luma, rows, axis=0), columns, axis=1)
    heights = np.diff(np.append(rows, luma.shape[0]))
    widths = np.diff(np.append(columns, luma.shape[1]))
    means: NDArray[np.float32] = (sums / np.outer(heights, widths)).astype(np.float32)
    return means
