from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tolerances
import torch
from safetensors.torch import save as save_safetensors
from semmix_rt.engines import open_engine
from support_training import lively_network, masked, network_inputs, torch_bundle

from semmix.bundle import Bundle
from semmix.errors import EngineMismatchError, ModelFormatError
from semmix.nn import EdgeSemMix
from semmix.nn.engine import TorchEngine, network_from_bundle


@pytest.fixture(scope="module")
def network() -> EdgeSemMix:
    return lively_network("tiny", text_encoder="words/1")


@pytest.fixture(scope="module")
def bundle(network: EdgeSemMix, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return torch_bundle(tmp_path_factory.mktemp("torch") / "tiny", network)


def test_it_is_found_by_name_and_says_what_runs(bundle: Bundle) -> None:
    engine = open_engine(bundle, "torch")
    assert isinstance(engine, TorchEngine)
    assert (engine.name, engine.provider, engine.precision) == ("torch", "cpu", "fp32")
    assert engine.spec == bundle.spec


def test_the_network_of_a_bundle_has_the_weights_that_went_in(
    network: EdgeSemMix, bundle: Bundle
) -> None:
    again = network_from_bundle(bundle)
    assert again.config == network.config
    assert not again.training
    expected = network.state_dict()
    assert set(again.state_dict()) == set(expected)
    for name, value in again.state_dict().items():
        assert torch.equal(value, expected[name])


def test_masks_and_state_are_those_of_the_network(network: EdgeSemMix, bundle: Bundle) -> None:
    engine = open_engine(bundle, "torch")
    state, expected_state = engine.initial_state(2), network.initial_state(2)
    assert [s.shape for s in state] == [(2, *s.shape) for s in engine.spec.state]
    for chunk in range(3):
        spectrum, tokens, weights = network_inputs(network, batch=2, seed=chunk)
        arrays = (spectrum.numpy(), tokens.numpy(), weights.numpy())
        mask, state = engine.run(*arrays, state)
        found = masked(network, spectrum, tokens, weights, *expected_state)
        expected_state = found.state
        assert mask.dtype == np.float32
        np.testing.assert_array_equal(mask, found.mask.numpy())
        for ours, theirs in zip(state, expected_state, strict=True):
            assert ours.flags.c_contiguous
            np.testing.assert_array_equal(ours, theirs.numpy())


def test_context_tokens_are_those_of_the_network(network: EdgeSemMix, bundle: Bundle) -> None:
    embeddings = np.random.default_rng(1).standard_normal((5, 6, 384)).astype(np.float32)
    with torch.no_grad():
        expected = network.context_encoder(torch.from_numpy(embeddings)).numpy()
    tokens = open_engine(bundle, "torch").encode_context(embeddings)
    np.testing.assert_allclose(tokens, expected, atol=tolerances.LAYER_FLOAT32)


def test_half_precision_weights_run_in_single(network: EdgeSemMix, tmp_path: Path) -> None:
    halves = {name: value.half() for name, value in network.state_dict().items()}
    bundle = torch_bundle(tmp_path / "half", network, network=save_safetensors(halves))
    inputs = network_inputs(network)
    engine = open_engine(bundle, "torch")
    mask, _ = engine.run(*(t.numpy() for t in inputs), engine.initial_state())
    rounded = lively_network("tiny", text_encoder="words/1")
    rounded.load_state_dict({name: value.float() for name, value in halves.items()})
    np.testing.assert_array_equal(mask, masked(rounded, *inputs).mask.numpy())


def config_with(**changes: Any) -> dict[str, Any]:
    config = asdict(lively_network("tiny", text_encoder="words/1").config)
    return {"config": config | changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"network": None},
        {"network": b"\x00" * 64},
        {"network": save_safetensors({"head.bias": torch.zeros(3, 1, 1025)})},
        {"provenance": {}},
        {"provenance": {"config": None}},
        {"provenance": {"config": {"groups": []}}},
        {"provenance": config_with(heads=0)},
        {"provenance": config_with(heads=3)},
        {"provenance": config_with(feed_forward=2_000_000_000)},
        {"provenance": config_with(width=64)},
        {"provenance": config_with(kept_frames=32)},
        {"provenance": config_with(max_gain_db=60.0)},
        {"provenance": config_with(channels="many")},
        {"provenance": config_with(context_layers=10**9)},
    ],
    ids=lambda changes: ascii(changes)[:40],
)
def test_bundles_no_network_can_be_made_of_are_refused(
    network: EdgeSemMix, tmp_path: Path, changes: dict[str, Any]
) -> None:
    bundle = torch_bundle(tmp_path / "odd", network, **changes)
    with pytest.raises(ModelFormatError) as caught:
        open_engine(bundle, "torch")
    message = str(caught.value)
    assert "\n" not in message
    assert str(tmp_path / "odd") in message


def test_weights_of_other_sizes_are_refused(network: EdgeSemMix, tmp_path: Path) -> None:
    other = lively_network("tiny", text_encoder="words/1", feed_forward=48)
    weights = save_safetensors({k: v.contiguous() for k, v in other.state_dict().items()})
    bundle = torch_bundle(tmp_path / "odd", network, network=weights)
    with pytest.raises(ModelFormatError, match="export it again"):
        open_engine(bundle, "torch")
    assert replace(other.config, feed_forward=32) == network.config


def test_pytorch_runs_no_other_precision(network: EdgeSemMix, tmp_path: Path) -> None:
    graphs = {"fp32": b"none", "fp16": b"half"}
    bundle = torch_bundle(tmp_path / "half", network, highlighters=graphs)
    with pytest.raises(EngineMismatchError, match="runs fp32 and no fp16: choose another engine"):
        open_engine(bundle, "torch", precision="fp16")
