"""The loss of a batch, held against a network that is given the answers."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import tolerances
import torch
from torch import Tensor

from semmix.nn.edge import Masking
from semmix.training.batches import Batch
from semmix.training.settings import TrainSettings
from semmix.training.trainer import batch_loss

FRAMES, BINS, SIZE = 22, 5, 2


def uniform(*shape: int, seed: int, low: float = 0.1) -> Tensor:
    return low + torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def batch() -> Batch:
    stems = uniform(SIZE, 3, FRAMES, BINS, seed=1)
    gains = uniform(SIZE, 3, seed=2) - 0.5
    weights = torch.softmax(5.0 * uniform(SIZE, FRAMES, 2, seed=3), -1)
    return Batch(
        mixture=stems.sum(1),
        target=(stems * gains.exp().reshape(SIZE, 3, 1, 1)).sum(1),
        embeddings=uniform(SIZE, 2, 6, 384, seed=4),
        weights=weights,
        stems=stems,
        gains=gains,
        active=torch.ones(SIZE, 3),
        policy_embeddings=uniform(4, 6, 384, seed=5),
        policy_balance=uniform(4, 3, seed=6),
    )


class Knowing:
    """Answers as a network that found everything out would, a look-ahead late.

    `late` delays the masks and shares further, `mistake` is added to one answer.
    """

    def __init__(
        self, batch: Batch, lookahead: int = 8, late: int = 0, mistake: str = "", stride: int = 4
    ) -> None:
        self.batch = batch
        self.config = SimpleNamespace(lookahead_frames=lookahead, stride=stride)
        self.delay = lookahead + late
        self.mistake = mistake
        self.spectrum = self.weights = torch.empty(0)

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        assert batch == SIZE
        return ()

    def context_encoder(self, embeddings: Tensor) -> Tensor:
        assert embeddings.ndim == 3
        return embeddings

    def balance(self, tokens: Tensor) -> Tensor:
        assert torch.equal(tokens, self.batch.policy_embeddings)
        return self.batch.policy_balance + (self.mistake == "balance")

    def masking(self, spectrum: Tensor, tokens: Tensor, weights: Tensor) -> Masking:
        assert torch.equal(tokens, self.batch.embeddings)
        self.spectrum, self.weights = spectrum, weights
        total = spectrum.shape[1]
        mask, shares = torch.ones(SIZE, total, BINS), torch.full((SIZE, 3, total, BINS), 1 / 3)
        place = slice(self.delay, self.delay + FRAMES)
        room = total - self.delay
        b = self.batch
        mask[:, place] = (b.target / b.mixture)[:, :room]
        shares[:, :, place] = (b.stems / b.mixture.unsqueeze(1))[:, :, :room]
        steps = total // self.config.stride
        gains = b.gains.unsqueeze(1).repeat(1, steps, 1)
        # Before the clip's first frame leaves, gains mean nothing.
        gains[:, : self.config.lookahead_frames // self.config.stride] = 100.0
        return Masking(
            mask + 0.1 * (self.mistake == "mask"),
            shares + 0.1 * (self.mistake == "shares"),
            gains + (self.mistake == "gains"),
            (),
        )


def loss(network: Knowing, batch: Batch, weight: float = TrainSettings().parts_weight) -> float:
    return float(batch_loss(network, batch, weight))  # type: ignore[arg-type]


@pytest.mark.parametrize("lookahead", [4, 8, 9, 42])
def test_a_network_that_knows_the_answers_has_no_loss(batch: Batch, lookahead: int) -> None:
    """Masks are taken a look-ahead late, as they leave the stream."""
    assert loss(Knowing(batch, lookahead), batch) < 10.0 * tolerances.LOSS_REL
    for late in (-1, 1):
        assert loss(Knowing(batch, lookahead, late), batch) > 0.1


@pytest.mark.parametrize(
    ("mistake", "expected"), [("mask", None), ("shares", None), ("gains", 0.5), ("balance", 0.5)]
)
def test_every_answer_is_judged(batch: Batch, mistake: str, expected: float | None) -> None:
    found = loss(Knowing(batch, mistake=mistake), batch)
    if expected is None:
        assert found > 0.02
    else:
        assert found == pytest.approx(expected, abs=10.0 * tolerances.LOSS_REL)


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("mistake", ["gains", "balance"])
def test_the_parts_count_as_the_settings_say(batch: Batch, mistake: str, weight: float) -> None:
    network = Knowing(batch, mistake=mistake)
    found = loss(network, batch, weight)
    assert found == pytest.approx(weight, abs=10.0 * tolerances.LOSS_REL)


def test_silent_stems_have_no_gain_to_find(batch: Batch) -> None:
    silent = replace(batch, active=torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    gains = batch.gains.clone()
    gains[0, 1:] += 3.0
    gains[1] -= 7.0
    network = Knowing(silent)
    found = loss(network, replace(silent, gains=gains))
    assert found == pytest.approx(loss(network, silent), rel=tolerances.LOSS_REL)
    heard = replace(silent, active=torch.ones_like(silent.active), gains=gains)
    assert loss(network, heard) > found + 1.0


@pytest.mark.parametrize("lookahead", [4, 8, 9, 42])
def test_frames_are_padded_by_silence_until_every_mask_is_out(batch: Batch, lookahead: int) -> None:
    network = Knowing(batch, lookahead)
    loss(network, batch)
    total = network.spectrum.shape[1]
    assert total % 4 == 0
    assert FRAMES + lookahead <= total < FRAMES + lookahead + 4
    assert torch.equal(network.spectrum[:, :FRAMES], batch.mixture)
    assert torch.all(network.spectrum[:, FRAMES:] == 0.0)


@pytest.mark.parametrize("lookahead", [4, 9])
def test_weights_arrive_with_the_masks_they_belong_to(batch: Batch, lookahead: int) -> None:
    network = Knowing(batch, lookahead)
    loss(network, batch)
    weights = network.weights
    assert weights.shape[1] == network.spectrum.shape[1]
    assert torch.equal(weights[:, lookahead : lookahead + FRAMES], batch.weights)
    for t in range(lookahead):
        assert torch.equal(weights[:, t], batch.weights[:, 0])
    for t in range(lookahead + FRAMES, weights.shape[1]):
        assert torch.equal(weights[:, t], batch.weights[:, -1])
