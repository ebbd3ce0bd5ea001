"""The residual branch against plain loops; against Demucs see `test_backbone`."""

from __future__ import annotations

import math

import pytest
import tolerances
import torch
from support_base import liven, noise
from torch import Tensor

from semmix.nn.base.dconv import Blstm, DConv, LayerScale, LocalAttention


def assert_close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0.0, atol=tolerances.LAYER_FLOAT32)


@torch.no_grad()
def test_local_attention_equals_a_plain_loop() -> None:
    """Queries choose how fast the weight of the others falls with their distance."""
    layer = liven(LocalAttention(8))
    steps, size = 7, 2
    x = noise(1, 8, steps)
    query, key, content = (c(x)[0].double() for c in (layer.query, layer.key, layer.content))
    decay = torch.sigmoid(layer.query_decay(x)[0].double()) / 2.0
    mixed = torch.zeros(8, steps, dtype=torch.float64)
    for head in range(4):
        rows = slice(head * size, (head + 1) * size)
        for at in range(steps):
            scores = torch.empty(steps, dtype=torch.float64)
            for other in range(steps):
                score = float(key[rows, other] @ query[rows, at]) / math.sqrt(size)
                for n in range(4):
                    fall = (n + 1) * abs(at - other) / math.sqrt(4)
                    score -= fall * float(decay[4 * head + n, at])
                scores[other] = score if other != at else -100.0
            mixed[rows, at] = content[rows] @ torch.softmax(scores, 0)
    expected = x + layer.proj(mixed.float()[None])
    assert_close(layer(x), expected)


@torch.no_grad()
def test_local_attention_starts_wide_open() -> None:
    torch.manual_seed(0)
    layer = LocalAttention(16)
    rates = torch.sigmoid(layer.query_decay(noise(1, 16, 50)))
    assert float(rates.max()) < 0.15


def test_local_attention_wants_channels_for_its_heads() -> None:
    with pytest.raises(ValueError, match="6 channels"):
        LocalAttention(6)


@pytest.mark.parametrize("steps", [9, 12, 13, 23, 24])
@torch.no_grad()
def test_a_long_stretch_is_put_together_from_the_middles_of_windows(steps: int) -> None:
    layer = liven(Blstm(4, window=8))
    x = noise(2, 4, steps)
    count = math.ceil(steps / 4)
    padded = torch.nn.functional.pad(x, (0, 8))
    y = layer(x)
    for step in range(steps):
        window = min(max((step - 2) // 4, 0), count - 1)
        start = 4 * window
        # One window alone runs as it is.
        alone = layer(padded[:, :, start : start + 8])
        assert_close(y[:, :, step], alone[:, :, step - start])


@torch.no_grad()
def test_a_window_is_an_lstm_in_both_directions_and_a_skip() -> None:
    layer = liven(Blstm(4, window=8))
    x = noise(2, 4, 8)
    hidden, _ = layer.lstm(x.permute(2, 0, 1))
    assert hidden.shape == (8, 2, 8)
    expected = x + layer.linear(hidden).permute(1, 2, 0)
    assert torch.equal(layer(x), expected)
    last = x.clone()
    last[:, :, -1] += 1.0
    assert not torch.equal(layer(last)[:, :, 0], layer(x)[:, :, 0])


@pytest.mark.parametrize("deep", [False, True])
@torch.no_grad()
def test_the_branch_starts_all_but_silent(deep: bool) -> None:
    torch.manual_seed(0)
    branch = DConv(16, deep=deep)
    x = noise(1, 16, 20)
    change = (branch(x) - x).abs().max()
    assert 0.0 < change < 1e-2
    scales = [m.scale for m in branch.modules() if isinstance(m, LayerScale)]
    assert len(scales) == 2
    assert all(torch.all(scale == 1e-4) for scale in scales)


def test_the_second_layer_reaches_twice_as_far() -> None:
    branch = liven(DConv(16, deep=False))
    for number, reach in enumerate((1, 2)):
        first = branch.layers[number][0]
        x = noise(1, 16, 21).requires_grad_()
        (gradient,) = torch.autograd.grad(first(x)[0, :, 10].sum(), x)
        seen = torch.nonzero(gradient[0].abs().amax(0)).flatten().tolist()
        assert seen == [10 - reach, 10, 10 + reach]
