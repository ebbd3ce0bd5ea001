"""STFT and inverse against torch, scipy and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import tolerances
import torch
from numpy.typing import NDArray
from scipy.signal import ShortTimeFFT, check_NOLA, get_window
from support_signal import noise

from semmix.dsp.stft import istft, stft
from semmix.dsp.streaming import hann
from semmix.specs import StftSpec

# Half overlap, more of it, a hop that does not divide the window, a window of odd length.
SPECS = [
    StftSpec(64, 32),
    StftSpec(2048, 1024),
    StftSpec(512, 128),
    StftSpec(1764, 441),
    StftSpec(100, 33),
    StftSpec(65, 16),
]
CHANNELS = [1, 2, 6]


def name_of(spec: StftSpec) -> str:
    return f"{spec.n_fft}/{spec.hop_samples}"


def lengths(spec: StftSpec) -> list[int]:
    n_fft, hop = spec.n_fft, spec.hop_samples
    return [0, 1, 2, hop - 1, hop, hop + 1, n_fft - 1, n_fft, n_fft + 1, 44_101]


def signal(kind: str, samples: int) -> NDArray[np.float32]:
    x = noise(2, samples)
    if kind == "sine":
        x[:] = np.sin(0.1 * np.arange(samples)), np.cos(1.1 * np.arange(samples))
    elif kind == "impulse":
        x[:] = 0.0
        x[0, samples // 3] = x[1, -1] = 1.0
    return x


def torch_window(spec: StftSpec) -> torch.Tensor:
    return torch.hann_window(spec.n_fft, periodic=True, dtype=torch.float64)


def assert_same_spectrum(ours: NDArray, theirs: NDArray, spec: StftSpec) -> None:
    """Equal within round-off, where a full-scale sine counts 1."""
    assert ours.dtype == np.complex64
    assert ours.shape == theirs.shape
    error = np.abs(ours.astype(np.complex128) - theirs) * spec.scale
    assert error.max(initial=0.0) < tolerances.SPECTRUM_FLOAT32


@pytest.mark.parametrize("kind", ["noise", "sine", "impulse"])
@pytest.mark.parametrize("spec", SPECS, ids=name_of)
@pytest.mark.parametrize("samples", [1, 127, 9_999])
def test_the_stft_is_torchs(spec: StftSpec, kind: str, samples: int) -> None:
    x = signal(kind, samples)
    frames = spec.frames(samples)
    # torch drops the frames that zeros would have to complete: give it the zeros.
    padded = np.zeros((2, frames * spec.hop_samples + 1))
    padded[:, :samples] = x
    expected = torch.stft(
        torch.from_numpy(padded),
        spec.n_fft,
        spec.hop_samples,
        window=torch_window(spec),
        center=True,
        pad_mode="constant",
        normalized=False,
        return_complex=True,
    )
    theirs = expected.numpy().transpose(0, 2, 1)[:, :frames]
    assert_same_spectrum(stft(x, spec), theirs, spec)


@pytest.mark.parametrize("kind", ["noise", "sine", "impulse"])
@pytest.mark.parametrize("spec", SPECS, ids=name_of)
def test_the_stft_is_scipys(spec: StftSpec, kind: str) -> None:
    x = signal(kind, 9_999)
    # phase_shift None: phases count from a frame's first sample, as a plain FFT has them.
    transform = ShortTimeFFT(
        get_window("hann", spec.n_fft),
        spec.hop_samples,
        fs=1.0,
        fft_mode="onesided",
        phase_shift=None,
    )
    expected = transform.stft(x.astype(np.float64), p0=0, p1=spec.frames(9_999))
    assert_same_spectrum(stft(x, spec), expected.transpose(0, 2, 1), spec)


@pytest.mark.parametrize("spec", SPECS, ids=name_of)
def test_an_impulse_shows_the_window_where_it_lies(spec: StftSpec) -> None:
    x = np.zeros((1, 3 * spec.n_fft), np.float32)
    place = spec.n_fft + 5
    x[0, place] = 1.0
    window = np.sin(np.pi * np.arange(spec.n_fft) / spec.n_fft) ** 2
    spectrum = stft(x, spec)[0]
    for m, frame in enumerate(spectrum):
        offset = place - (m * spec.hop_samples - spec.n_fft // 2)
        height = window[offset] if 0 <= offset < spec.n_fft else 0.0
        phase = -2.0 * np.pi * np.arange(spec.bins) * offset / spec.n_fft
        error = np.abs(frame - height * np.exp(1j * phase))
        assert error.max() < tolerances.SPECTRUM_FLOAT32


@pytest.mark.parametrize("spec", SPECS, ids=name_of)
def test_the_scale_gives_a_full_scale_sine_magnitude_one(spec: StftSpec) -> None:
    bin_index = spec.n_fft // 4
    n = np.arange(8 * spec.n_fft)
    x = np.cos(2.0 * np.pi * bin_index * n / spec.n_fft + 0.3)[None].astype(np.float32)
    inside = np.abs(stft(x, spec)[0, spec.frames(spec.n_fft) : -spec.frames(spec.n_fft)])
    magnitude = inside * spec.scale
    np.testing.assert_allclose(magnitude[:, bin_index], 1.0, atol=tolerances.SPECTRUM_FLOAT32)
    # The two side bins of a Hann window hold half, all others nothing.
    np.testing.assert_allclose(magnitude[:, bin_index + 1], 0.5, atol=tolerances.SPECTRUM_FLOAT32)
    assert magnitude[:, bin_index + 2 :].max() < tolerances.SPECTRUM_FLOAT32


@pytest.mark.parametrize("n_fft", [64, 65, 100, 2048])
def test_the_window_is_the_periodic_hann_window(n_fft: int) -> None:
    window = hann(n_fft)
    np.testing.assert_allclose(window, get_window("hann", n_fft, fftbins=True), atol=1e-7)
    with pytest.raises(ValueError, match="read-only"):
        window[0] = 1.0


@pytest.mark.parametrize(("n_fft", "hop"), [(64, 32), (2048, 1024), (512, 128), (99, 33)])
def test_overlapping_windows_add_up_to_a_constant(n_fft: int, hop: int) -> None:
    total = hann(n_fft).astype(np.float64).reshape(n_fft // hop, hop).sum(axis=0)
    np.testing.assert_allclose(total, n_fft / (2 * hop), atol=tolerances.WINDOW_SUM)


@pytest.mark.parametrize("spec", SPECS, ids=name_of)
def test_no_sample_inside_lies_under_nearly_nothing(spec: StftSpec) -> None:
    # The inverse divides by the squared windows' sum and floors it at 1e-3.
    overlap = spec.n_fft - spec.hop_samples
    assert check_NOLA(get_window("hann", spec.n_fft), spec.n_fft, overlap, tol=0.3)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("spec", SPECS, ids=name_of)
def test_there_and_back_gives_every_sample_again(spec: StftSpec, channels: int) -> None:
    for samples in lengths(spec):
        x = noise(channels, samples, seed=samples)
        spectrum = stft(x, spec)
        assert spectrum.shape == (channels, spec.frames(samples), spec.bins)
        back = istft(spectrum, spec, samples)
        assert back.dtype == np.float32
        assert back.shape == x.shape
        np.testing.assert_allclose(back, x, atol=tolerances.FLOAT32_ROUNDTRIP, rtol=0)


@pytest.mark.parametrize("samples", [1, 127, 9_999])
@pytest.mark.parametrize("spec", SPECS, ids=name_of)
def test_the_inverse_of_a_masked_spectrum_is_torchs(spec: StftSpec, samples: int) -> None:
    # No signal has this spectrum, so that it matters how frames are weighted against each other.
    frames = spec.frames(samples)
    mask = np.random.default_rng(2).uniform(0.0, 2.0, (frames, spec.bins)).astype(np.float32)
    spectrum = stft(signal("noise", samples), spec) * mask
    expected = torch.istft(
        torch.from_numpy(spectrum.astype(np.complex128).transpose(0, 2, 1)),
        spec.n_fft,
        spec.hop_samples,
        window=torch_window(spec),
        center=True,
        length=samples,
    )
    np.testing.assert_allclose(
        istft(spectrum, spec, samples),
        expected.numpy(),
        atol=tolerances.FLOAT32_ROUNDTRIP,
        rtol=0,
    )


def test_channels_do_not_touch_each_other() -> None:
    spec = StftSpec(64, 32)
    x = noise(6, 1_000)
    together = stft(x, spec)
    for c in range(6):
        assert np.array_equal(stft(x[c : c + 1], spec)[0], together[c])
    together[[0, 1, 2, 4, 5]] = 0.0
    back = istft(together, spec, 1_000)
    assert not back[[0, 1, 2, 4, 5]].any()
    np.testing.assert_allclose(back[3], x[3], atol=tolerances.FLOAT32_ROUNDTRIP, rtol=0)
