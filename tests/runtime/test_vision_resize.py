"""Resizing: against PyTorch, and against averaging an enlarged picture by hand."""

import numpy as np
import pytest
import torch
from semmix_rt.cues.vision.resize import letterbox, resize
from tolerances import RESIZE_LEVELS


def _noise(height, width, seed=3):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _tensor(image):
    return torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None]


@pytest.mark.parametrize(("height", "width"), [(40, 60), (20, 20), (8, 12)])
def test_whole_factors_average_blocks(height, width):
    image = _noise(120, 120)
    expected = torch.nn.functional.interpolate(_tensor(image), (height, width), mode="area")
    got = resize(image, height, width)
    np.testing.assert_allclose(got, expected[0].permute(1, 2, 0), atol=RESIZE_LEVELS)


@pytest.mark.parametrize(("height", "width"), [(7, 11), (17, 5), (30, 45)])
def test_broken_factors_average_exact_areas(height, width):
    image = _noise(31, 46)
    # Every pixel becomes height x width equal ones: then all areas are whole numbers of them.
    fine = image.astype(np.float64).repeat(height, axis=0).repeat(width, axis=1)
    expected = fine.reshape(height, 31, width, 46, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(resize(image, height, width), expected, atol=RESIZE_LEVELS)


@pytest.mark.parametrize(("height", "width"), [(37, 53), (64, 64), (200, 21)])
def test_enlarging_interpolates_linearly(height, width):
    image = _noise(20, 21)
    expected = torch.nn.functional.interpolate(
        _tensor(image), (height, width), mode="bilinear", align_corners=False
    )
    got = resize(image, height, width)
    np.testing.assert_allclose(got, expected[0].permute(1, 2, 0), atol=RESIZE_LEVELS)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (333, 2), (192, 192)])
def test_flat_pictures_stay_flat(shape):
    image = np.full((*shape, 3), 77, np.uint8)
    for size in (1, 64, 192, 224):
        np.testing.assert_allclose(resize(image, size, size), 77.0, atol=RESIZE_LEVELS)


def test_letterbox_keeps_shape_and_tells_the_way_back():
    image = np.full((90, 160, 3), 200, np.uint8)
    square, (scale, left, top) = letterbox(image, 192)
    assert square.shape == (192, 192, 3)
    lit = np.argwhere(square[..., 0] > 100)
    (y0, x0), (y1, x1) = lit.min(axis=0), lit.max(axis=0) + 1
    np.testing.assert_allclose([(x0 - left) / scale, (y0 - top) / scale], [0, 0], atol=0.5)
    np.testing.assert_allclose([(x1 - left) / scale, (y1 - top) / scale], [160, 90], atol=0.5)
    assert not square[:y0].any()
    assert not square[y1:].any()
