"""Resizing in NumPy: area averaging when shrinking, linear interpolation when enlarging.

Both are done axis by axis as a short sum of weighted rows, without BLAS, so that a picture
gives the same numbers whatever the number of cores.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@lru_cache(maxsize=64)
def _taps(size_in: int, size_out: int) -> tuple[tuple[NDArray[np.intp], NDArray[np.float32]], ...]:
    """Source indices and weights [size_out] of each tap; the weights sum to 1."""
    scale = size_in / size_out
    position = np.arange(size_out, dtype=np.float64)
    if scale >= 1.0:
        start, stop = position * scale, (position + 1.0) * scale
        first = np.floor(start).astype(np.intp)
        count = int((np.ceil(stop - 1e-9).astype(np.intp) - first).max())
        rows = [first + k for k in range(count)]
        weights = [
            np.clip(np.minimum(stop, r + 1.0) - np.maximum(start, r), 0.0, None) / scale
            for r in rows
        ]
    else:
        centre = (position + 0.5) * scale - 0.5
        first = np.floor(centre).astype(np.intp)
        rows, weights = [first, first + 1], [1.0 - (centre - first), centre - first]
    return tuple(
        (np.clip(r, 0, size_in - 1), w.astype(np.float32))
        for r, w in zip(rows, weights, strict=True)
    )


def _resize_rows(image: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    if image.shape[0] == size:
        return image
    total = np.zeros((size, *image.shape[1:]), np.float32)
    for rows, weights in _taps(image.shape[0], size):
        total += image[rows] * weights.reshape(-1, *([1] * (image.ndim - 1)))
    return total


def resize(image: NDArray[np.generic], height: int, width: int) -> NDArray[np.float32]:
    """Resize a picture.

    Args:
        image: `[H, W]` or `[H, W, C]`, any real type.
        height, width: size of the result in pixels.

    Returns:
        float32 `[height, width]` or `[height, width, C]`, in the units of the input.
    """
    rows = _resize_rows(np.asarray(image, np.float32), height)
    return np.ascontiguousarray(np.swapaxes(_resize_rows(np.swapaxes(rows, 0, 1), width), 0, 1))


def letterbox(
    image: NDArray[np.generic], size: int
) -> tuple[NDArray[np.float32], tuple[float, float, float]]:
    """Fit a picture into a black square, keeping its shape.

    Args:
        image: `[H, W, 3]`.
        size: side of the square in pixels.

    Returns:
        float32 `[size, size, 3]`, and (scale, left, top): a point of the square lies at
        `(x - left) / scale`, `(y - top) / scale` in the picture.
    """
    scale = size / max(image.shape[:2])
    height = max(1, round(image.shape[0] * scale))
    width = max(1, round(image.shape[1] * scale))
    top, left = (size - height) // 2, (size - width) // 2
    square = np.zeros((size, size, 3), np.float32)
    square[top : top + height, left : left + width] = resize(image, height, width)
    return square, (scale, float(left), float(top))
