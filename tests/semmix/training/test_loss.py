from __future__ import annotations

import numpy as np
import pytest
import tolerances
import torch
from torch import Tensor

from semmix.training.loss import balance_loss, gain_loss, remix_loss, share_loss

BATCH, FRAMES, BINS, SOURCES = 2, 6, 9, 3


def uniform(*shape: int, seed: int = 0, low: float = 0.0, high: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(*shape, generator=generator)


@pytest.fixture
def spectra() -> tuple[Tensor, Tensor, Tensor]:
    """Mask, mixture and target; the second clip is 40 dB below the first."""
    level = torch.tensor([1.0, 0.01]).reshape(2, 1, 1)
    mask = uniform(BATCH, FRAMES, BINS, seed=1, low=0.2, high=4.0)
    return (
        mask,
        level * uniform(BATCH, FRAMES, BINS, seed=2),
        level * uniform(BATCH, FRAMES, BINS, seed=3),
    )


@pytest.fixture
def shares() -> tuple[Tensor, Tensor, Tensor]:
    """Shares, mixture and stems; the third stem is silent in the first clip."""
    share = torch.softmax(uniform(BATCH, SOURCES, FRAMES, BINS, seed=4, high=3.0), 1)
    stems = uniform(BATCH, SOURCES, FRAMES, BINS, seed=5)
    stems[0, 2] = 0.0
    return share, 0.5 * stems.sum(1), stems


def test_remix_loss_is_the_relative_distance_of_spectra_plain_and_compressed(
    spectra: tuple[Tensor, Tensor, Tensor],
) -> None:
    mask, mixture, target = (t.double().numpy() for t in spectra)
    linear = 0.0
    for b in range(BATCH):
        level = target[b].mean() + 1e-5
        linear += np.abs(mask[b] * mixture[b] - target[b]).mean() / level / BATCH
    ours, theirs = (mask * mixture + 1e-5) ** 0.3, (target + 1e-5) ** 0.3
    expected = linear + 0.5 * np.abs(ours - theirs).mean() / theirs.mean()
    found = float(remix_loss(*spectra))
    assert found == pytest.approx(expected, rel=tolerances.LOSS_REL)


def test_loud_clips_do_not_rule(spectra: tuple[Tensor, Tensor, Tensor]) -> None:
    mask, mixture, target = spectra
    for clip in range(BATCH):
        worse = mask.clone()
        worse[clip] += 1.0
        rise = float(remix_loss(worse, mixture, target) - remix_loss(mask, mixture, target))
        assert 0.3 < rise < 3.0


def test_share_loss_is_the_distance_of_each_part_relative_to_its_level(
    shares: tuple[Tensor, Tensor, Tensor],
) -> None:
    share, mixture, stems = (t.double().numpy() for t in shares)
    terms = []
    for b in range(BATCH):
        for i in range(SOURCES):
            difference = np.abs(share[b, i] * mixture[b] - stems[b, i]).mean()
            terms.append(difference / (stems[b, i].mean() + 0.3 * mixture[b].mean() + 1e-5))
    found = float(share_loss(*shares))
    assert found == pytest.approx(np.mean(terms), rel=tolerances.LOSS_REL)


def test_gain_loss_is_the_mean_distance_and_absent_sources_count_half() -> None:
    gains = uniform(BATCH, FRAMES, SOURCES, seed=6, low=-1.0)
    truth = uniform(BATCH, SOURCES, seed=7, low=-1.0)
    active = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    distances, weights = [], []
    for b, i in np.ndindex(BATCH, SOURCES):
        there = bool(active[b, i])
        aim = float(truth[b, i]) if there else 0.0
        distances.append(np.abs(gains[b, :, i].double().numpy() - aim).mean())
        weights.append(1.0 if there else 0.5)
    found = float(gain_loss(gains, truth, active))
    assert found == pytest.approx(np.average(distances, weights=weights), rel=tolerances.LOSS_REL)
    assert float(gain_loss(torch.zeros_like(gains), truth, torch.zeros_like(active))) == 0.0


def test_balance_loss_is_the_mean_distance() -> None:
    balance, truth = uniform(5, SOURCES, seed=8), uniform(5, SOURCES, seed=9)
    expected = np.abs(balance.double().numpy() - truth.double().numpy()).mean()
    found = float(balance_loss(balance, truth))
    assert found == pytest.approx(expected, rel=tolerances.LOSS_REL)


def test_every_term_is_zero_at_the_truth() -> None:
    stems = uniform(BATCH, SOURCES, FRAMES, BINS, seed=5, low=0.1)
    mixture = stems.sum(1)
    target = uniform(BATCH, FRAMES, BINS, seed=3)
    gains = uniform(BATCH, SOURCES, seed=7)
    assert float(remix_loss(target / mixture, mixture, target)) < 10 * tolerances.LOSS_REL
    assert float(share_loss(stems / mixture.unsqueeze(1), mixture, stems)) < tolerances.LOSS_REL
    held = gains.unsqueeze(1).expand(-1, FRAMES, -1)
    assert float(gain_loss(held, gains, torch.ones_like(gains))) == 0.0
    assert float(balance_loss(gains, gains)) == 0.0


@pytest.mark.parametrize("level", [0.0, 1e-6, 1.0])
def test_gradients_are_finite_in_silence_too(level: float) -> None:
    logits = uniform(BATCH, SOURCES, FRAMES, BINS, seed=1).requires_grad_()
    share = torch.softmax(logits, 1)
    mixture = level * uniform(BATCH, FRAMES, BINS, seed=2)
    stems = share.detach().flip(1) * mixture.unsqueeze(1)
    loss = remix_loss(share.sum(1), mixture, 2.0 * mixture)
    loss = loss + remix_loss(2.0 * share[:, 0], mixture, 2.0 * mixture)
    loss = loss + share_loss(share, mixture, stems)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()
    assert bool(gradient.any()) == (level > 0.0)
