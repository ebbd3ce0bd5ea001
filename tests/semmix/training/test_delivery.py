"""What delivery does to a mix: it loses detail, and neither level nor place in time."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import tolerances

from semmix.errors import EngineError
from semmix.training import delivery
from semmix.training.delivery import CODECS, RATES_HZ, Codec, clip, code, deliver

RATE_HZ = 48_000


@pytest.fixture(scope="module")
def mix() -> np.ndarray:
    """A second of noise that codecs keep: most of it lies below 3 kHz."""
    rng = np.random.default_rng(1)
    low = scipy.signal.butter(4, 3_000.0, fs=RATE_HZ, output="sos")
    noise = rng.standard_normal(RATE_HZ + 137)
    return (0.3 * scipy.signal.sosfilt(low, noise)).astype(np.float32)


def lag_samples(one: np.ndarray, other: np.ndarray) -> int:
    """How much later the second is, by cross-correlation."""
    found = scipy.signal.correlate(other, one, "full", "fft")
    return int(np.argmax(found)) - (len(one) - 1)


@pytest.mark.parametrize("codec", CODECS, ids=lambda c: c.encoder)
@pytest.mark.parametrize("best", [False, True])
def test_a_codec_leaves_a_mix_in_place_and_at_its_level(
    codec: Codec, best: bool, mix: np.ndarray
) -> None:
    coded = code(mix, RATE_HZ, codec, codec.bit_rates[-1 if best else 0])
    assert coded.shape == mix.shape
    assert coded.dtype == np.float32
    assert lag_samples(mix, coded) == 0
    inner = slice(4_800, -4_800)
    error = np.sum((coded - mix)[inner] ** 2) / np.sum(mix[inner] ** 2)
    least, most = tolerances.CODEC_ERROR
    assert least < error < most
    power = np.sum(coded[inner] ** 2) / np.sum(mix[inner] ** 2)
    assert power == pytest.approx(1.0, abs=tolerances.CODEC_POWER_REL)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000])
def test_codecs_take_mixes_of_other_rates(rate_hz: int, mix: np.ndarray) -> None:
    for codec in CODECS:
        coded = code(mix, rate_hz, codec, codec.bit_rates[-1])
        assert coded.shape == mix.shape
        assert abs(lag_samples(mix, coded)) <= 1


def test_clipping_cuts_off_peaks_and_nothing_else(mix: np.ndarray) -> None:
    clipped = clip(mix, 6.0)
    limit = np.abs(mix).max() * 10.0 ** (-6.0 / 20.0)
    assert np.abs(clipped).max() == pytest.approx(limit, rel=1e-6)
    small = np.abs(mix) < limit
    assert 0.5 < small.mean() < 1.0
    np.testing.assert_array_equal(clipped[small], mix[small])


def test_another_sample_rate_takes_the_top_off(
    monkeypatch: pytest.MonkeyPatch, mix: np.ndarray
) -> None:
    for share, value in {"CLIP_SHARE": 0.0, "RATE_SHARE": 1.0, "CODEC_SHARE": 0.0}.items():
        monkeypatch.setattr(delivery, share, value)
    noise = np.random.default_rng(2).standard_normal(RATE_HZ).astype(np.float32)
    edges_hz = set()
    for seed in range(40):
        delivered = deliver(noise, RATE_HZ, np.random.default_rng(seed))
        assert delivered.shape == noise.shape
        power = np.abs(np.fft.rfft(delivered)) ** 2
        edges_hz.add(int(np.flatnonzero(power > 1e-3 * power[:7_000].mean()).max()))
        assert lag_samples(noise, delivered) == 0
    for rate_hz in RATES_HZ:
        assert any(0.9 * rate_hz / 2 < edge <= rate_hz / 2 for edge in edges_hz)


def test_chance_decides_what_happens_to_which_mix(mix: np.ndarray) -> None:
    drawn = [deliver(mix, RATE_HZ, np.random.default_rng(seed)) for seed in range(80)]
    untouched = sum(np.array_equal(one, mix) for one in drawn)
    expected = np.prod(
        [1.0 - s for s in (delivery.CLIP_SHARE, delivery.RATE_SHARE, delivery.CODEC_SHARE)]
    )
    assert abs(untouched / 80 - expected) < 3.5 * np.sqrt(expected * (1 - expected) / 80)
    for seed in (0, 1, 2):
        np.testing.assert_array_equal(
            deliver(mix, RATE_HZ, np.random.default_rng(seed)), drawn[seed]
        )
    silence = np.zeros(1_000, np.float32)
    for seed in range(20):
        assert not deliver(silence, RATE_HZ, np.random.default_rng(seed)).any()


def test_a_missing_codec_is_told(mix: np.ndarray) -> None:
    with pytest.raises(EngineError, match=r"no_such_encoder.*deliver=false"):
        code(mix, RATE_HZ, Codec("no_such_encoder", "adts", (64_000,)), 64_000)
