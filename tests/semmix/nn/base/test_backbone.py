"""The U-Net against Hybrid Demucs, whose weights it takes: layer by layer, and as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import tolerances
import torch
from demucs.hdemucs import HDemucs
from support_base import liven, noise
from torch import Tensor, nn

from semmix.nn.base.backbone import Backbone
from semmix.nn.base.config import BaseConfig
from semmix.nn.base.frontend import analyse

CHANNELS = 8


def hybrid_demucs(channels: int = CHANNELS) -> Any:
    return HDemucs(["output"], audio_channels=1, channels=channels, cac=False)


@dataclass(frozen=True)
class Pair:
    ours: Backbone
    theirs: Any


@pytest.fixture(scope="module")
def pair() -> Pair:
    theirs = liven(hybrid_demucs())
    ours = Backbone(BaseConfig(channels=CHANNELS)).eval()
    ours.load_state_dict(theirs.state_dict())
    return Pair(ours, theirs)


@pytest.fixture
def double(pair: Pair) -> Iterator[Pair]:
    """The pair in float64, where only the order of sums is left to differ."""
    pair.ours.double()
    pair.theirs.double()
    yield pair
    pair.ours.float()
    pair.theirs.float()


def assert_same(ours: Tensor, theirs: Tensor, share: float) -> None:
    assert ours.shape == theirs.shape
    spread = float(theirs.std())
    assert spread > 1e-3
    torch.testing.assert_close(ours, theirs, rtol=0.0, atol=share * spread)


# --- Layer by layer -----------------------------------------------------------------------------


@pytest.mark.parametrize("index", range(6))
@torch.no_grad()
def test_a_frequency_encoder_layer_equals_demucs(pair: Pair, index: int) -> None:
    level = pair.ours.config.levels[index]
    bins, frames = (16, 16, 8, 8, 8, 1)[index], 230 if index < 5 else 403
    x = noise(2, level.channels_in, bins, frames)
    injected = noise(2, level.channels, frames, seed=1) if index == 4 else None
    ours = pair.ours.encoder[index](x, injected)
    # Long enough for the LSTM to run in windows.
    assert ours.shape[-1] > 200
    assert_same(ours, pair.theirs.encoder[index](x, injected), tolerances.ORACLE_FLOAT32)


@pytest.mark.parametrize("length", [64, 65, 67])
@pytest.mark.parametrize("index", range(5))
@torch.no_grad()
def test_a_time_encoder_layer_equals_demucs(pair: Pair, index: int, length: int) -> None:
    x = noise(2, pair.ours.config.levels[index].channels_in, length)
    expected = pair.theirs.tencoder[index](x)
    assert_same(pair.ours.tencoder[index](x), expected, tolerances.ORACLE_FLOAT32)


@pytest.mark.parametrize("index", range(6))
@torch.no_grad()
def test_a_frequency_decoder_layer_equals_demucs(pair: Pair, index: int) -> None:
    level = pair.ours.config.levels[5 - index]
    shape = (
        (2, level.channels, 13)
        if index == 0
        else (2, level.channels, (1, 8, 8, 8, 8)[index - 1], 25)
    )
    x, skip = noise(*shape), noise(*shape, seed=1)
    # The layer that follows the innermost one is given no frequency axis.
    given = x.squeeze(2) if index == 1 else x
    length = 25 if index == 0 else 8 if index == 1 else 32
    expected, before = pair.theirs.decoder[index](given, skip, length)
    layer: Any = pair.ours.decoder[index]
    assert_same(layer(given, skip, length), expected, tolerances.ORACLE_FLOAT32)
    assert_same(layer.blend(given, skip), before, tolerances.ORACLE_FLOAT32)


@pytest.mark.parametrize("length", [61, 64])
@pytest.mark.parametrize("index", range(5))
@torch.no_grad()
def test_a_time_decoder_layer_equals_demucs(pair: Pair, index: int, length: int) -> None:
    channels = pair.ours.config.levels[4 - index].channels
    x, skip = noise(2, channels, 16), noise(2, channels, 16, seed=1)
    layer: Any = pair.ours.tdecoder[index]
    expected, _ = pair.theirs.tdecoder[index](x, skip if index else None, length)
    ours = layer(x, skip, length) if index else layer.upsample(x, length)
    assert_same(ours, expected, tolerances.ORACLE_FLOAT32)


# --- As a whole ---------------------------------------------------------------------------------


@torch.no_grad()
def both(pair: Pair, sound: Tensor, *, empty_latent: bool, patch: pytest.MonkeyPatch) -> Any:
    """Masks and waveforms, ours and theirs.

    Stock Demucs normalises its spectrogram, which here is done for our network from outside, and
    undoes it on what it takes for magnitudes, which here is undone. Its decoders start from
    zeros; those of the paper, without a transformer, start from what the encoders end with.
    """
    seen = []

    def take(spectrum: Tensor, masked: Tensor) -> Tensor:
        seen.append(masked[:, 0])
        return torch.zeros_like(spectrum[:, None])  # leaves the time branch alone in the output

    magnitude = pair.theirs._magnitude(pair.theirs._spec(sound))
    mean, std = magnitude.mean((1, 2, 3), keepdim=True), magnitude.std((1, 2, 3), keepdim=True)
    with patch.context() as patched:
        patched.setattr(pair.theirs, "_mask", take)
        if not empty_latent:
            zeros_like = torch.zeros_like
            # Complex zeros are `take`'s.
            patched.setattr(torch, "zeros_like", lambda t: zeros_like(t) if t.is_complex() else t)
        their_wave = pair.theirs(sound)[:, 0]
    clip = analyse(sound)
    encoded = pair.ours.encode((magnitude - mean) / (1e-5 + std), clip.waveform)
    latent = torch.zeros_like(encoded.latent) if empty_latent else encoded.latent
    mask, wave = pair.ours.decode(latent, encoded)
    return mask, wave, (seen[0] - mean) / std, (their_wave - clip.mean) / clip.std


@pytest.mark.parametrize("empty_latent", [True, False])
@pytest.mark.parametrize("samples", [3000, 204_801])
def test_the_whole_equals_demucs_in_float64(
    double: Pair, samples: int, empty_latent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = 0.3 * noise(1, 1, samples).double()
    mask, wave, *theirs = both(double, sound, empty_latent=empty_latent, patch=monkeypatch)
    assert_same(mask, theirs[0], tolerances.ORACLE_FLOAT64)
    assert_same(wave, theirs[1], tolerances.ORACLE_FLOAT64)


def test_the_whole_equals_demucs_in_float32_at_its_published_width(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    theirs = liven(hybrid_demucs(channels=24))
    assert sum(p.numel() for p in theirs.parameters()) == 20_955_258
    ours = Backbone(BaseConfig()).eval()
    ours.load_state_dict(theirs.state_dict())
    sound = 0.3 * noise(2, 1, 20_000)
    mask, wave, *expected = both(Pair(ours, theirs), sound, empty_latent=False, patch=monkeypatch)
    assert_same(mask, expected[0], tolerances.ORACLE_FLOAT32)
    assert_same(wave, expected[1], tolerances.ORACLE_FLOAT32)


@torch.no_grad()
def test_the_latent_is_heard_in_both_branches(pair: Pair) -> None:
    """Or agreement of the whole would say little about its middle."""
    clip = analyse(0.3 * noise(1, 1, 20_000))
    encoded = pair.ours.encode(clip.magnitude, clip.waveform)
    with_latent = pair.ours.decode(encoded.latent, encoded)
    without = pair.ours.decode(torch.zeros_like(encoded.latent), encoded)
    for some, none in zip(with_latent, without, strict=True):
        assert (some - none).std() > 500 * tolerances.ORACLE_FLOAT32 * none.std()


def test_fresh_weights_have_the_size_of_those_of_demucs() -> None:
    torch.manual_seed(0)
    theirs = hybrid_demucs().state_dict()
    ours = Backbone(BaseConfig(channels=CHANNELS)).state_dict()
    assert ours.keys() == theirs.keys()
    compared = 0
    for name, value in theirs.items():
        # Norms, layer scales and rates of decay.
        constant = value.numel() > 1 == value.unique().numel()
        if constant or (value.numel() >= 1000 and "freq_emb" not in name):
            size = [float(v.mean() if constant else v.std()) for v in (ours[name], value)]
            assert size[0] == pytest.approx(size[1], rel=tolerances.INITIAL_STD_REL), name
            compared += 1
    assert compared > 100


# --- Without an oracle --------------------------------------------------------------------------

LEVELS = {  # VisAH's table, for clips of 10 s.
    "encoder": [
        (24, 512, 431),
        (48, 128, 431),
        (96, 32, 431),
        (192, 8, 431),
        (384, 1, 431),
        (768, 216),
    ],
    "tencoder": [(24, 110_250), (48, 27_563), (96, 6_891), (192, 1_723), (384, 431)],
}


@torch.no_grad()
def test_a_clip_of_10_s_has_the_published_shape_on_every_level() -> None:
    assert BaseConfig().channels == 24
    network = Backbone(BaseConfig(channels=4))  # a sixth of the channels
    magnitude, waveform = torch.zeros(1, 1, 2048, 431), torch.zeros(1, 1, 441_000)
    found: dict[str, list[tuple[int, ...]]] = {name: [] for name in LEVELS}

    def note(name: str) -> Any:
        def hook(_layer: nn.Module, _inputs: Any, output: Tensor) -> None:
            channels, *lengths = output.shape[1:]
            found[name].append((6 * channels, *lengths))

        return hook

    for name in LEVELS:
        for layer in getattr(network, name):
            layer.register_forward_hook(note(name))
    encoded = network.encode(magnitude, waveform)
    assert found == LEVELS
    assert encoded.time_lengths == (441_000, 110_250, 27_563, 6_891, 1_723)
    mask, wave = network.decode(encoded.latent, encoded)
    assert mask.shape == magnitude.shape
    assert wave.shape == waveform.shape


@torch.no_grad()
def test_the_frequency_embedding_starts_smooth_and_of_unit_variance() -> None:
    torch.manual_seed(0)
    vectors = Backbone(BaseConfig()).freq_emb()[0, :, :, 0]
    assert vectors.shape == (24, 512)
    assert float(vectors.pow(2).mean()) == pytest.approx(1.0, abs=0.5)
    steps = vectors.diff(dim=1).pow(2).mean(0)
    assert float(steps[256:].max()) < 0.02


@pytest.mark.parametrize(
    ("magnitude", "waveform", "message"),
    [
        ((1, 1, 2049, 2), (1, 1, 2048), r"\[B, 1, 2048, T\]"),
        ((1, 2048, 2), (1, 1, 2048), r"\[B, 1, 2048, T\]"),
        ((1, 1, 2048, 2), (1, 2, 2048), r"\[B, 1, N\]"),
        ((1, 1, 2048, 2), (1, 1, 2049), "have 3 frames"),
        ((2, 1, 2048, 2), (1, 1, 2048), "1 waveforms"),
    ],
)
def test_shapes_that_do_not_belong_together_are_refused(
    magnitude: tuple[int, ...], waveform: tuple[int, ...], message: str
) -> None:
    with torch.device("meta"):
        network = Backbone(BaseConfig(channels=4))
        with pytest.raises(ValueError, match=message):
            network.encode(torch.zeros(magnitude), torch.zeros(waveform))
