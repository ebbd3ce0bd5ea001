from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import tolerances
import torch
from support_training import lively_network, masked, network_inputs
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from semmix.cues.types import CUE_TYPES
from semmix.nn import PRESETS, EdgeSemMix, build
from semmix.nn.bands import BandGroup
from semmix.nn.edge import NEPERS_PER_DB, config_from_dict


@pytest.fixture(scope="module")
def tiny() -> EdgeSemMix:
    return lively_network("tiny")


@pytest.fixture(scope="module")
def edge() -> EdgeSemMix:
    return lively_network("edge")


# --- What the small device can carry ------------------------------------------------------------


def test_edge_has_at_most_four_million_parameters(edge: EdgeSemMix) -> None:
    assert 1_000_000 < sum(p.numel() for p in edge.parameters()) <= 4_000_000


def test_edge_takes_at_most_400_million_products_for_a_second_of_sound(edge: EdgeSemMix) -> None:
    """One mask serves all channels, so the cost does not grow with them."""
    config = edge.config
    frames = config.kept_frames
    inputs = network_inputs(edge, frames=frames, segments=config.max_segments)
    with FlopCounterMode(display=False) as counter:
        found = masked(edge, *inputs)
    assert found.mask.shape == (1, frames, config.n_fft // 2 + 1)
    seconds = frames * config.hop_samples / config.sample_rate_hz
    products = counter.get_total_flops() / 2
    assert 0.05e9 < products / seconds <= 0.4e9


def test_edge_looks_at_most_a_second_ahead(edge: EdgeSemMix) -> None:
    config = edge.config
    assert config.lookahead_frames == edge.config.spec().chunk.lookahead_frames
    # The first frame of a latent frame also waits for the others of it.
    newest = config.lookahead_frames + config.stride - 1
    assert newest * config.hop_samples <= config.sample_rate_hz


def test_edge_takes_a_film_of_48_khz_in_chunks_of_two_seconds() -> None:
    spec = PRESETS["edge"].spec()
    assert spec.audio.sample_rate_hz == 48_000
    assert (spec.stft.n_fft, spec.stft.hop_samples) == (2048, 1024)
    assert spec.chunk.kept_frames % PRESETS["edge"].stride == 0
    assert spec.cue_types == tuple(str(c) for c in CUE_TYPES)
    spec.check()


# --- Streaming ----------------------------------------------------------------------------------


def streamed(
    network: EdgeSemMix, inputs: tuple[Tensor, Tensor, Tensor], chunks: list[int]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    spectrum, tokens, weights = inputs
    state = network.initial_state(len(spectrum))
    masks = []
    start = 0
    for size in chunks:
        part = slice(start, start + size)
        found = masked(network, spectrum[:, part], tokens, weights[:, part], *state)
        masks.append(found.mask)
        state = found.state
        start += size
    assert start == spectrum.shape[1]
    return torch.cat(masks, 1), state


@pytest.mark.parametrize(
    ("preset", "chunks"),
    [
        ("tiny", [4] * 24),
        ("tiny", [16] * 6),
        ("tiny", [48, 48]),
        ("tiny", [4, 40, 8, 28, 16]),
        ("edge", [4] * 36),
        ("edge", [96, 48]),
        ("edge", [12, 100, 32]),
    ],
)
def test_chunks_of_any_length_give_the_masks_of_the_whole(
    preset: str, chunks: list[int], request: pytest.FixtureRequest
) -> None:
    network = request.getfixturevalue(preset)
    inputs = network_inputs(network, batch=2, frames=sum(chunks))
    whole = masked(network, *inputs)
    masks, state = streamed(network, inputs, chunks)
    atol = tolerances.STREAM_FLOAT32
    torch.testing.assert_close(masks, whole.mask, rtol=0.0, atol=atol)
    for known, ours, theirs in zip(network.config.spec().state, state, whole.state, strict=True):
        assert ours.shape == (2, *known.shape)
        torch.testing.assert_close(ours, theirs, rtol=0.0, atol=atol)


def test_the_state_is_what_carries_the_past(tiny: EdgeSemMix) -> None:
    """Each state tensor matters: zeroed between two chunks, it changes the second's masks."""
    spectrum, tokens, weights = network_inputs(tiny, frames=32)
    state = masked(tiny, spectrum[:, :16], tokens, weights[:, :16]).state
    second = (spectrum[:, 16:], tokens, weights[:, 16:])
    expected = masked(tiny, *second, *state).mask
    for number in range(len(state)):
        lost = [torch.zeros_like(s) if i == number else s for i, s in enumerate(state)]
        change = (masked(tiny, *second, *lost).mask - expected).abs().max()
        assert change > 100 * tolerances.STREAM_FLOAT32, tiny.config.spec().state[number].name


def test_the_callers_state_stays_as_it_was(tiny: EdgeSemMix) -> None:
    inputs = network_inputs(tiny)
    state = masked(tiny, *inputs).state
    before = [s.clone() for s in state]
    masked(tiny, *inputs, *state)
    assert all(torch.equal(a, b) for a, b in zip(state, before, strict=True))


def test_streams_of_a_batch_do_not_touch_each_other(tiny: EdgeSemMix) -> None:
    spectrum, tokens, weights = network_inputs(tiny, batch=3, frames=32)
    together = masked(tiny, spectrum, tokens, weights)
    for b in range(3):
        one = slice(b, b + 1)
        alone = masked(tiny, spectrum[one], tokens[one], weights[one])
        for ours, theirs in zip(
            (alone.mask, *alone.state), (together.mask, *together.state), strict=True
        ):
            torch.testing.assert_close(ours[0], theirs[b], rtol=0.0, atol=tolerances.STREAM_FLOAT32)


@pytest.mark.parametrize("preset", ["tiny", "edge"])
def test_a_mask_knows_the_frames_up_to_its_look_ahead_and_none_beyond(
    preset: str, request: pytest.FixtureRequest
) -> None:
    """Nothing is normalised over time: a film's end cannot change its beginning."""
    network = request.getfixturevalue(preset)
    frames = 96
    spectrum, tokens, weights = network_inputs(network, frames=frames)
    before = masked(network, spectrum, tokens, weights).mask
    # Masks leave a look-ahead after their frames came, so that mask t has seen frame t.
    newest = 63
    assert newest % network.config.stride == network.config.stride - 1
    beyond = spectrum.clone()
    beyond[:, newest + 1 :] = 50.0 * beyond[:, newest + 1 :].flip(1)
    after = masked(network, beyond, tokens, weights).mask
    assert torch.equal(after[:, : newest + 1], before[:, : newest + 1])
    assert not torch.equal(after[:, newest + 1 :], before[:, newest + 1 :])

    at = spectrum.clone()
    at[:, newest] *= 50.0
    changed = (masked(network, at, tokens, weights).mask - before).abs().amax((0, 2))
    assert changed[newest] > 10 * tolerances.STREAM_FLOAT32
    assert torch.all(changed[: newest + 1 - network.config.stride] == 0.0)


def test_weights_and_tokens_act_on_the_masks_that_leave_with_them(tiny: EdgeSemMix) -> None:
    spectrum, tokens, _ = network_inputs(tiny, frames=32)
    weights = torch.zeros(1, 32, 2)
    weights[..., 0] = 1.0
    before = masked(tiny, spectrum, tokens, weights).mask
    weights[:, 16:] = weights[:, 16:].flip(-1)
    after = masked(tiny, spectrum, tokens, weights).mask
    assert torch.equal(after[:, :16], before[:, :16])
    assert (after - before)[:, 16:].abs().amax((0, 2)).min() > 1e-3


def test_a_segment_without_weight_is_not_heard(tiny: EdgeSemMix) -> None:
    spectrum, tokens, _ = network_inputs(tiny)
    weights = torch.tensor([1.0, 0.0]).expand(1, spectrum.shape[1], 2)
    before = masked(tiny, spectrum, tokens, weights).mask
    others = tokens.clone()
    others[:, 1] = -3.0 * others[:, 0].flip(-1)
    after = masked(tiny, spectrum, others, weights).mask
    torch.testing.assert_close(after, before, rtol=0.0, atol=tolerances.SEGMENT_LEAK)
    swapped = masked(tiny, spectrum, tokens.flip(1), weights).mask
    assert (swapped - before).abs().max() > 100 * tolerances.SEGMENT_LEAK


# --- The mask -----------------------------------------------------------------------------------


def test_shares_are_positive_and_sum_to_one(tiny: EdgeSemMix) -> None:
    found = masked(tiny, *network_inputs(tiny, batch=2))
    assert found.shares.shape == (2, 3, 16, 1025)
    assert (found.shares > 0.0).all()
    total = found.shares.sum(1)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=tolerances.SHARE_SUM)


def test_the_mask_is_each_sources_share_times_its_gain(tiny: EdgeSemMix) -> None:
    found = masked(tiny, *network_inputs(tiny, batch=2))
    assert found.gains.shape == (2, 16 // tiny.config.stride, 3)
    shares, gains = found.shares.double().numpy(), found.gains.double().numpy()
    expected = np.zeros(found.mask.shape)
    for t in range(16):
        for source in range(3):
            # A gain is held over the frames of its latent frame.
            gain = np.exp(gains[:, t // tiny.config.stride, source])
            expected[:, t] += shares[:, source, t] * gain[:, None]
    np.testing.assert_allclose(found.mask.numpy(), expected, atol=tolerances.LAYER_FLOAT32)


@pytest.mark.parametrize("push", [-1e3, 1e3])
@pytest.mark.parametrize("level", [0.0, 1e-4, 1e3])
def test_masks_stay_within_the_gain_limit(push: float, level: float) -> None:
    network = lively_network(max_gain_db=12.0)
    with torch.no_grad():
        network.gain_head.bias.fill_(push)
        assert network.metered_gain is not None
        network.metered_gain.need.bias.fill_(1e3)  # by chance it may say that nothing is to mend
        network.metered_gain.need.weight.zero_()
    spectrum, tokens, weights = network_inputs(network)
    mask_db = 20.0 * masked(network, level * spectrum, 30.0 * tokens, weights).mask.log10()
    limit = 12.0 * (1.0 + 1e-5)
    assert -limit <= mask_db.min()
    assert mask_db.max() <= limit
    # The limit is reached, or this test would say nothing.
    assert mask_db.abs().min() > 11.99


def test_nepers_per_db_is_a_twentieth_of_the_logarithm_of_ten() -> None:
    assert np.log(10.0) / 20.0 == pytest.approx(NEPERS_PER_DB, rel=1e-12)


def test_the_balance_that_cues_ask_for_is_read_off_the_mean_of_their_tokens(
    tiny: EdgeSemMix,
) -> None:
    _, tokens, _ = network_inputs(tiny, batch=2)
    with torch.no_grad():
        balance = tiny.balance(tokens)
    head = tiny.balance_head
    weight, bias = head.weight.detach().double().numpy(), head.bias.detach().double().numpy()
    expected = tokens.double().numpy().mean(2) @ weight.T + bias
    assert balance.shape == (2, 2, 3)
    np.testing.assert_allclose(balance.numpy(), expected, atol=tolerances.LAYER_FLOAT32)


def test_what_the_cues_ask_for_moves_the_gains(tiny: EdgeSemMix) -> None:
    """Each source's own, where no meter weighs them against each other."""
    spectrum, tokens, weights = network_inputs(tiny)
    network = lively_network("tiny", meter_memory_s=0.0)
    before = masked(network, spectrum, tokens, weights).gains
    with torch.no_grad():
        network.balance_head.bias[1] += 0.5
    moved = masked(network, spectrum, tokens, weights).gains - before
    assert torch.all(moved[..., 1] > 0.1)
    assert torch.all(moved[..., [0, 2]] == 0.0)


def test_a_shot_that_is_not_on_screen_says_nothing(tiny: EdgeSemMix) -> None:
    """Or a clip heard at once would betray what a stream cannot know yet."""
    spectrum, tokens, _ = network_inputs(tiny)
    weights = torch.tensor([1.0, 0.0]).expand(1, spectrum.shape[1], 2)
    other = torch.cat((tokens[:, :1], 3.0 * tokens[:, :1].flip(2)), 1)
    before, after = (masked(tiny, spectrum, t, weights) for t in (tokens, other))
    assert torch.equal(before.mask, after.mask)
    on_screen = masked(tiny, spectrum, other, weights.flip(2)).mask
    assert not torch.allclose(before.mask, on_screen, rtol=1e-3)


@pytest.mark.parametrize("level", [0.0, 1.0, 1e3])
def test_unknown_cues_and_odd_sounds_give_finite_masks(tiny: EdgeSemMix, level: float) -> None:
    config = tiny.config
    with torch.no_grad():
        tokens = tiny.context_encoder(torch.zeros(1, len(CUE_TYPES), config.embedding_dim))
    weights = torch.ones(1, 32, 1)
    spectrum = torch.full((1, 32, 1025), level)
    found = masked(tiny, spectrum, tokens.unsqueeze(0), weights)
    for tensor in (found.mask, found.shares, found.gains, *found.state):
        assert torch.isfinite(tensor).all()
    assert (found.mask > 0.0).all()


def test_the_plain_call_gives_the_mask_and_the_state(tiny: EdgeSemMix) -> None:
    inputs = network_inputs(tiny)
    with torch.no_grad():
        mask, *state = tiny(*inputs, *tiny.initial_state())
    found = masked(tiny, *inputs)
    assert torch.equal(mask, found.mask)
    assert all(torch.equal(a, b) for a, b in zip(state, found.state, strict=True))


# --- Training -----------------------------------------------------------------------------------


def test_nothing_is_left_out_when_the_network_runs(tiny: EdgeSemMix) -> None:
    assert not build("tiny").training
    inputs = network_inputs(tiny)
    assert torch.equal(masked(tiny, *inputs).mask, masked(tiny, *inputs).mask)


def test_training_leaves_out_whole_bands_of_single_clips() -> None:
    network = lively_network("tiny", dropout=0.5).train()
    seen: list[Tensor] = []
    network.encoder[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    spectrum, tokens, weights = network_inputs(network, batch=8)
    torch.manual_seed(1)
    first = masked(network, spectrum, tokens, weights).mask
    assert not torch.equal(masked(network, spectrum, tokens, weights).mask, first)
    whole = network.split(spectrum)
    left_out = (seen[0] == 0.0).all(3).all(2)
    assert 0.3 < left_out.float().mean() < 0.7
    assert not torch.equal(left_out, left_out[:, :1].expand_as(left_out))
    # What stays is scaled, so that the stream keeps its size on average.
    torch.testing.assert_close(seen[0][~left_out], 2.0 * whole[~left_out])


def test_training_leaves_out_whole_channels_where_shares_are_read() -> None:
    network = lively_network("tiny", dropout=0.5).train()
    streams: list[Tensor] = []
    network.decoder[-1].register_forward_hook(lambda module, _, out: streams.append(out[0]))
    network.head.register_forward_pre_hook(lambda module, inputs: streams.append(inputs[0]))
    torch.manual_seed(2)
    masked(network, *network_inputs(network, batch=8))
    before, after = streams
    left_out = (after == 0.0).all(2).all(0)
    assert 0.3 < left_out.float().mean() < 0.7
    assert not torch.equal(left_out, left_out[:1].expand_as(left_out))
    kept = ~left_out.reshape(1, 8, 1, -1).expand_as(after)
    torch.testing.assert_close(after[kept], 2.0 * before[kept])


def test_without_dropout_training_and_running_are_the_same() -> None:
    network = lively_network("tiny", dropout=0.0)
    inputs = network_inputs(network)
    running = masked(network, *inputs).mask
    assert torch.equal(masked(network.train(), *inputs).mask, running)


# --- Configurations -----------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_a_configuration_survives_json(preset: str) -> None:
    config = replace(PRESETS[preset], text_encoder="words/1", max_gain_db=11.5)
    again = config_from_dict(json.loads(json.dumps(asdict(config))))
    assert again == config
    assert again.spec() == config.spec()


@pytest.mark.parametrize(
    "change", [{"groups": 3}, {"sources": None}, {"colour": "red"}, {"encoder_dilations": ["x"]}]
)
def test_an_odd_configuration_is_refused(change: dict[str, object]) -> None:
    with pytest.raises((TypeError, ValueError)):
        config_from_dict(asdict(PRESETS["tiny"]) | change)


def test_the_spec_names_the_state_that_the_network_returns(edge: EdgeSemMix) -> None:
    spec = edge.config.spec()
    found = masked(edge, *network_inputs(edge, frames=4))
    assert [tuple(s.shape[1:]) for s in found.state] == [s.shape for s in spec.state]
    assert len({s.name for s in spec.state}) == len(spec.state)
    assert edge.config.sources == ("speech", "music", "effects")


def test_unknown_presets_are_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="edge, tiny"):
        build("huge")


def test_bands_that_leave_bins_out_are_refused() -> None:
    with pytest.raises(ValueError, match="cover 80 of 1025"):
        build("tiny", groups=(BandGroup(8, 10),))
