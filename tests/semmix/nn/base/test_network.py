"""The whole network, from sound and context to sound."""

from __future__ import annotations

import pytest
import tolerances
import torch
from support_base import liven, noise
from torch import Tensor

from semmix.nn import EdgeSemMix, build
from semmix.nn.base import BaseSemMix, highlight
from semmix.nn.base.config import ContextAttention
from semmix.nn.base.frontend import analyse, synthesise

SIZES = {"channels": 4, "width": 16, "heads": 2, "depth": 2, "context_layers": 1}


def small(mode: ContextAttention = "time", **overrides: object) -> BaseSemMix:
    return build("base", **{"context": "vision", "context_attention": mode, **SIZES, **overrides})


def sound(batch: int = 1, samples: int = 20_000) -> Tensor:
    return 0.1 * noise(batch, 1, samples)


def cues(batch: int = 1, tokens: int = 4) -> Tensor:
    """Context vectors of the size of normalised picture features."""
    return torch.nn.functional.normalize(noise(batch, tokens, 768, seed=5), dim=2) * 10.0


@pytest.fixture(scope="module")
def network() -> BaseSemMix:
    return liven(small())


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    atol = tolerances.BATCH_FLOAT32 * float(theirs.std())
    torch.testing.assert_close(ours, theirs, rtol=0.0, atol=atol)


@torch.no_grad()
def test_the_wrapper_goes_from_sound_to_sound(network: BaseSemMix) -> None:
    x, context = sound(2), cues(2)
    clip = analyse(x)
    mask, wave = network(clip.magnitude, clip.waveform, context)
    assert mask.shape == (2, 1, 2048, 20)
    assert wave.shape == (2, 1, 20_000)
    # Nothing bounds the mask.
    assert mask.min() < 0.0
    assert mask.is_floating_point()
    y = highlight(network, x, context)
    assert y.shape == x.shape
    assert torch.equal(y, synthesise(clip, mask, wave))


@torch.no_grad()
def test_a_fresh_network_has_not_yet_heard_of_context() -> None:
    torch.manual_seed(0)
    network = small()
    encoded = network.encode(*inputs(sound()))
    plain = network.decode(encoded.latent, encoded)
    for context in (cues(), -cues()):
        found = network(*inputs(sound()), context)
        assert all(torch.equal(a, b) for a, b in zip(found, plain, strict=True))


def inputs(x: Tensor) -> tuple[Tensor, Tensor]:
    clip = analyse(x)
    return clip.magnitude, clip.waveform


@torch.no_grad()
def test_context_is_heard_in_mask_and_waveform(network: BaseSemMix) -> None:
    some, other = (network(*inputs(sound()), c) for c in (cues(), cues().flip(2)))
    for a, b in zip(some, other, strict=True):
        assert (a - b).std() > 10 * tolerances.BATCH_FLOAT32 * a.std()


@torch.no_grad()
def test_clips_of_a_batch_do_not_touch_each_other(network: BaseSemMix) -> None:
    x, context = sound(3), cues(3)
    together = network(*inputs(x), context)
    for b in range(3):
        one = slice(b, b + 1)
        alone = network(*inputs(x[one]), context[one])
        for ours, theirs in zip(alone, together, strict=True):
            assert_same(ours, theirs[one])


@torch.no_grad()
def test_released_attention_lets_them_touch_and_alone_needs_no_order(
    network: BaseSemMix,
) -> None:
    released = small("released")
    released.load_state_dict(network.state_dict())
    tokens = released.latent_transformer.encode_context
    together, alone = tokens(cues(2)), tokens(cues(2)[:1])
    assert together is not None
    assert alone is not None
    assert (together[:1] - alone).abs().max() > 1e-3
    forwards, backwards = (released(*inputs(sound()), c) for c in (cues(), cues().flip(1)))
    for ours, theirs in zip(forwards, backwards, strict=True):
        assert_same(ours, theirs)


@pytest.mark.parametrize("samples", [40, 1000, 1024, 1025, 44_100, 44_101])
@pytest.mark.parametrize("tokens", [1, 7])
@torch.no_grad()
def test_clips_and_context_may_have_any_length(
    network: BaseSemMix, samples: int, tokens: int
) -> None:
    y = highlight(network, sound(1, samples), cues(1, tokens))
    assert y.shape == (1, 1, samples)
    assert torch.isfinite(y).all()


@torch.no_grad()
def test_silence_gives_silence(network: BaseSemMix) -> None:
    assert torch.all(highlight(network, torch.zeros(1, 1, 5000), cues()) == 0.0)


@torch.no_grad()
def test_the_same_seed_gives_the_same_network() -> None:
    outputs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        outputs.append(highlight(small(), sound(), cues()))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


@torch.no_grad()
def test_a_network_without_context_takes_none() -> None:
    network = liven(small(context="none"))
    assert highlight(network, sound()).shape == (1, 1, 20_000)
    with pytest.raises(ValueError, match="takes no context"):
        highlight(network, sound(), cues())


def test_every_parameter_learns() -> None:
    network = liven(small())
    highlight(network, sound(1, 8000), cues()).pow(2).mean().backward()
    still = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


def test_build_knows_both_families() -> None:
    assert isinstance(small(), BaseSemMix)
    assert isinstance(build("tiny"), EdgeSemMix)
    with pytest.raises(ValueError, match="edge, tiny, base"):
        build("huge")
