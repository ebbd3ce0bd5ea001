from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal
import tolerances
import torch
from support_signal import reference_stft
from support_training import lively_network, masked, network_inputs

from semmix.nn import EdgeSemMix, build
from semmix.nn.edge import NEPERS_PER_DB
from semmix.nn.meter import LevelMeter
from semmix.specs import StftSpec

STFT = StftSpec(2048, 1024)
RATE_HZ = 48_000
PROGRAMME_LUFS = -22.0
STEP_S = 4 * 1024 / RATE_HZ
AS_IS = torch.zeros(1, 1, 3)
"""The programme's level asked of every source."""


def meter(memory_s: float = 20.0) -> LevelMeter:
    return LevelMeter(STFT, RATE_HZ, 4, 3, memory_s, PROGRAMME_LUFS)


def k_weighted_lufs(x: np.ndarray) -> float:
    """Ungated loudness by the filters that BS.1770 prints for 48 kHz, in the time domain."""
    shelf = ([1.53512485958697, -2.69169618940638, 1.19839281085285],
             [1.0, -1.69065929318241, 0.73248077421585])  # fmt: skip
    high_pass = ([1.0, -2.0, 1.0], [1.0, -1.99004745483398, 0.99007225036621])
    y = scipy.signal.lfilter(*high_pass, scipy.signal.lfilter(*shelf, x))
    return -0.691 + 10.0 * math.log10(float(np.mean(y**2)))


def spectra(x: np.ndarray, frames: int) -> torch.Tensor:
    magnitude = np.abs(reference_stft(x[None], STFT)[:, :frames])
    return torch.from_numpy(magnitude.astype(np.float32)) * STFT.scale


@pytest.mark.parametrize("gain", [1.0, 0.3])
def test_steady_sound_reads_as_its_loudness(gain: float) -> None:
    """Against the time-domain filters; source by source as their shares say."""
    rng = np.random.default_rng(3)
    noise = scipy.signal.lfilter([1.0], [1.0, -0.9], rng.standard_normal(30 * RATE_HZ))
    x = gain * 0.1 * noise / noise.std()
    spectrum = spectra(x, 1400)
    shares = torch.tensor([0.5, 0.25, 0.25]).reshape(1, 3, 1, 1).expand(1, 3, 1400, 1025)
    levels, _ = meter(memory_s=1e6)(spectrum, shares, AS_IS, torch.zeros(1, 7))
    mean, active, seconds = levels[0, -1].double().split((3, 3, 1))
    expected = NEPERS_PER_DB * (k_weighted_lufs(x) - PROGRAMME_LUFS)
    heard_s = 1400 * 1024 / RATE_HZ
    # A second of silence is assumed before, lest the first frames read as a level.
    late = 0.5 * math.log(heard_s / (heard_s + 1.0))
    tolerance = NEPERS_PER_DB * tolerances.LOUDNESS_LU
    for share, ours, weighted in zip((0.5, 0.25, 0.25), mean, active, strict=True):
        assert float(ours) == pytest.approx(expected + math.log(share) + late, abs=tolerance)
        assert float(weighted) == pytest.approx(expected + math.log(share), abs=tolerance)
    assert float(seconds) == pytest.approx(math.log1p(heard_s), abs=0.01)


def test_pauses_lower_the_mean_and_not_the_active_level() -> None:
    """A source that sounds half of the time, two seconds on and two off, under a steady mix."""
    rng = np.random.default_rng(4)
    spectrum = spectra(0.1 * rng.standard_normal(41 * RATE_HZ), 1920)
    steady = torch.ones(1, 3, 1920, 1025) / 3
    sounding = (torch.arange(1920) // 96 % 2 == 0).reshape(1, 1, -1, 1)
    broken = torch.where(sounding, steady, torch.tensor([0.0, 0.5, 0.5]).reshape(1, 3, 1, 1))
    whole, _ = meter(1e6)(spectrum, steady, AS_IS, torch.zeros(1, 7))
    paused, _ = meter(1e6)(spectrum, broken, AS_IS, torch.zeros(1, 7))
    fall_db = ((whole - paused)[0, -1] / NEPERS_PER_DB).double()
    assert float(fall_db[0]) == pytest.approx(3.0, abs=tolerances.LOUDNESS_LU)
    assert float(fall_db[3]) == pytest.approx(0.0, abs=tolerances.LOUDNESS_LU)


def test_the_past_fades_as_a_loop_says() -> None:
    rng = np.random.default_rng(5)
    now = torch.from_numpy(rng.random((2, 11, 7)).astype(np.float32))
    past = torch.from_numpy(rng.random((2, 7)).astype(np.float32))
    sums = past.double()
    for step in range(11):
        sums = sums * math.exp(-STEP_S / 0.7) + now[:, step].double()
        ours = meter(0.7)._leaky(now, past)[:, step].double()
        torch.testing.assert_close(ours, sums, atol=tolerances.LAYER_FLOAT32, rtol=1e-5)


def test_silence_and_odd_sums_stay_finite() -> None:
    shares = torch.ones(1, 3, 8, 1025) / 3
    for past in (torch.zeros(1, 7), -torch.ones(1, 7)):
        levels, sums = meter()(torch.zeros(1, 8, 1025), shares, AS_IS, past)
        assert torch.isfinite(levels).all()
        assert torch.isfinite(sums).all()


def test_a_past_that_was_loud_moves_the_gains() -> None:
    """The meter's reading reaches the mask: other sums, other gains."""
    network = lively_network("tiny")
    inputs = network_inputs(network)
    state = list(network.initial_state())
    quiet = masked(network, *inputs, *state).gains
    state[-1] = 5.0 * torch.ones_like(state[-1])
    assert float((masked(network, *inputs, *state).gains - quiet).abs().max()) > 1e-3


def test_a_balance_that_is_as_asked_reads_as_none_through_cuts() -> None:
    """Sources that change their level where the cues do stand where they should throughout."""
    frames, cut = 960, 480
    spectrum = spectra(0.1 * np.random.default_rng(6).standard_normal(21 * RATE_HZ), frames)
    shares = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]).repeat_interleave(cut, 0)
    asked = torch.log(shares[::4]).unsqueeze(0)
    levels, _ = meter(1e6)(
        spectrum, shares.T.reshape(1, 3, -1, 1).expand(1, 3, -1, 1025), asked, torch.zeros(1, 7)
    )
    mean, active = levels[0, [100, -1], :3], levels[0, [100, -1], 3:6]
    # What is left is the level of the whole, the same for every source and on both sides.
    for found in (mean, active):
        assert float(found.std(1).max()) < NEPERS_PER_DB * tolerances.LOUDNESS_LU
    assert float((active[0] - active[1]).abs().max()) < NEPERS_PER_DB * tolerances.LOUDNESS_LU


def test_odd_wishes_stay_finite() -> None:
    shares, spectrum = torch.ones(1, 3, 8, 1025) / 3, torch.ones(1, 8, 1025)
    for nepers in (-1e4, 1e4):
        levels, sums = meter()(spectrum, shares, AS_IS + nepers, torch.zeros(1, 7))
        assert torch.isfinite(levels).all()
        assert torch.isfinite(sums).all()


def test_no_need_no_gain() -> None:
    network = lively_network("tiny")
    assert network.metered_gain is not None
    inputs = network_inputs(network)
    whole = masked(network, *inputs)
    assert float(whole.gains.abs().max()) > 0.1
    network.metered_gain.need.weight.data.zero_()
    network.metered_gain.need.bias.data.fill_(-50.0)
    still = masked(network, *inputs)
    torch.testing.assert_close(still.mask, torch.ones_like(still.mask))


def test_a_network_given_a_meter_masks_as_before() -> None:
    """It starts at no correction and full need, so that trained networks can be given one."""
    torch.manual_seed(1)
    plain = lively_network("tiny", meter_memory_s=0.0)
    metered: EdgeSemMix = build("tiny")
    metered.load_state_dict(metered.state_dict() | plain.state_dict())
    inputs = network_inputs(plain)
    found, expected = masked(metered, *inputs), masked(plain, *inputs)
    torch.testing.assert_close(found.shares, expected.shares)
    torch.testing.assert_close(found.gains, expected.gains / (1.0 + math.exp(-4.0)))
