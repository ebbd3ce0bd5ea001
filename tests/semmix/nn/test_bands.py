from __future__ import annotations

import numpy as np
import pytest
import tolerances
import torch
from numpy.typing import NDArray
from torch import Tensor

from semmix.nn.bands import (
    EDGE_BANDS,
    BandGroup,
    BandSplit,
    MaskHead,
    band_count,
    padded_bins,
)

GROUPS = (BandGroup(3, 2), BandGroup(2, 5))
BINS, CHANNELS = 15, 4  # one bin less than the bands cover
EDGES = [(0, 2), (2, 4), (4, 6), (6, 11), (11, 16)]


def array(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.detach().double().numpy()


def spectra(frames: int = 40, batch: int = 2, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    level = 10.0 ** torch.linspace(0.0, -3.0, BINS)
    return level * torch.randn(batch, frames, BINS, generator=generator).abs()


@pytest.fixture
def split() -> BandSplit:
    torch.manual_seed(1)
    return BandSplit(GROUPS, CHANNELS)


def compressed(spectrum: Tensor) -> NDArray[np.float64]:
    x = (array(spectrum) + 1e-7) ** 0.3
    return np.concatenate((x, np.zeros((*x.shape[:2], 1))), 2)


@torch.no_grad()
def test_band_split_equals_a_plain_loop_over_bands(split: BandSplit) -> None:
    spectrum = spectra()
    split.fit(spectra(seed=3))
    x = (compressed(spectrum) - array(split.mean)) * array(split.scale)
    matrices = [array(w)[n] for w in split.weights for n in range(len(w))]
    expected = np.stack(
        [
            x[:, :, low:high] @ matrix + bias[0]
            for (low, high), matrix, bias in zip(EDGES, matrices, array(split.bias), strict=True)
        ]
    )
    assert expected.shape == (5, 2, 40, CHANNELS)
    np.testing.assert_allclose(split(spectrum).numpy(), expected, atol=tolerances.LAYER_FLOAT32)


def test_fitting_centres_every_bin_and_brings_it_to_unit_size(split: BandSplit) -> None:
    spectrum = spectra(frames=200)
    spectrum[:, :, 7] = 1e-3  # hardly ever changes
    split.fit(spectrum)
    x = compressed(spectrum).reshape(-1, 16)
    fitted = (x - array(split.mean)) * array(split.scale)
    np.testing.assert_allclose(fitted.mean(0), 0.0, atol=tolerances.LAYER_FLOAT32)
    floor = 0.3 * x.std(0, ddof=1).mean()
    loud = x.std(0) > 1.01 * floor
    assert 5 < loud.sum() < 15
    np.testing.assert_allclose(fitted[:, loud].std(0, ddof=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(array(split.scale)[~loud], 1.0 / floor, rtol=1e-5)


@torch.no_grad()
def test_fitting_to_silence_leaves_finite_numbers(split: BandSplit) -> None:
    """And of a size that a network can learn from when sound comes at last."""
    split.fit(torch.zeros(1, 10, BINS))
    assert torch.isfinite(split(torch.zeros(1, 3, BINS))).all()
    assert split(spectra()).abs().max() < 1e5


@torch.no_grad()
def test_levels_stay_readable_after_fitting(split: BandSplit) -> None:
    """A fixed gain and no normalisation: a louder clip is a larger stream."""
    split.fit(spectra())
    quiet, loud = split(0.1 * spectra()), split(10.0 * spectra())
    assert not torch.allclose(quiet, loud, atol=0.1)
    one = split(spectra()[:, :1])
    torch.testing.assert_close(
        split(spectra())[:, :, :1], one, rtol=0.0, atol=tolerances.LAYER_FLOAT32
    )


def mask_head(seed: int = 2) -> MaskHead:
    torch.manual_seed(seed)
    head = MaskHead(GROUPS, CHANNELS, BINS, sources=3)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter += 0.5 * torch.randn(parameter.shape)
    return head


@torch.no_grad()
def test_mask_head_equals_a_plain_loop_over_bands() -> None:
    head = mask_head()
    stream = torch.randn(5, 2, 7, CHANNELS, generator=torch.Generator().manual_seed(4))
    x = array(stream)
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + head.norm.eps)
    x = x * array(head.norm.weight) + array(head.norm.bias)
    logits = np.zeros((2, 7, 16, 3))
    matrices = [array(w)[n] for w in head.weights for n in range(len(w))]
    for band, ((low, high), matrix) in enumerate(zip(EDGES, matrices, strict=True)):
        for place, low_bin in enumerate(range(low, high)):
            # One source's logits of all bins of the band stand side by side.
            columns = matrix[:, place :: high - low]
            logits[:, :, low_bin] = x[band] @ columns
    logits = logits[:, :, :BINS] + array(head.bias)[:, 0].T
    powers = np.exp(logits)
    expected = powers / powers.sum(-1, keepdims=True)
    shares = head(stream)
    assert shares.shape == (2, 3, 7, BINS)
    np.testing.assert_allclose(
        shares.movedim(1, 3).numpy(), expected, atol=tolerances.LAYER_FLOAT32
    )


@torch.no_grad()
def test_a_band_writes_its_own_bins_only() -> None:
    head = mask_head()
    stream = torch.randn(5, 1, 3, CHANNELS, generator=torch.Generator().manual_seed(5))
    before = head(stream)
    for band, (low, high) in enumerate(EDGES):
        other = stream.clone()
        other[band] = other[band].flip(-1)
        changed = torch.nonzero((head(other) - before).abs().amax((0, 1, 2))).flatten().tolist()
        assert changed == list(range(low, min(high, BINS)))


def test_the_bands_of_edge_cover_the_spectrum_and_widen_with_frequency() -> None:
    assert band_count(EDGE_BANDS) == 54
    assert padded_bins(EDGE_BANDS) == 1026
    widths = [g.bins for g in EDGE_BANDS]
    assert widths == sorted(widths)
    split_hz = np.cumsum([g.bands * g.bins for g in EDGE_BANDS]) * 48_000 / 2048
    np.testing.assert_allclose(split_hz, [1_125.0, 4_125.0, 10_125.0, 24_046.875])
