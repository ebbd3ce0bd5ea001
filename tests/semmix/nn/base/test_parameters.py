"""Names, shapes and numbers of parameters: what a published checkpoint holds, to the last one."""

from __future__ import annotations

import pytest
import torch
from support_base import liven
from support_checkpoint import published_shapes
from torch import Tensor, nn

from semmix.nn import build
from semmix.nn.base import BaseConfig, BaseSemMix
from semmix.nn.base.config import Context
from semmix.nn.base.context import sinusoids


def described(context: Context = "text", layers: int = 3) -> BaseSemMix:
    """The network without memory for its parameters."""
    with torch.device("meta"):
        return build("base", context=context, context_layers=layers)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("context", "layers", "expected"),
    [
        ("text", 0, 55_351_674),
        ("text", 3, 61_660_026),
        ("text", 5, 65_865_594),
        ("text", 6, 67_968_378),
        ("vision", 0, 53_647_738),
        ("vision", 3, 59_956_090),
        ("vision", 5, 64_161_658),
        ("vision", 6, 66_264_442),
        ("none", 3, 53_254_010),
    ],
)
def test_the_network_has_the_published_number_of_parameters(
    context: Context, layers: int, expected: int
) -> None:
    network = described(context, layers)
    assert count(network) == expected
    assert count(network) - count(network.latent_transformer) == 20_955_258


def test_three_context_layers_for_six_save_the_papers_nine_per_cent() -> None:
    assert 1.0 - count(described(layers=3)) / count(described(layers=6)) == pytest.approx(
        0.0928, abs=5e-5
    )


def test_names_and_shapes_are_the_published_ones() -> None:
    expected = published_shapes()
    assert len(expected) == 395 + 164
    assert {k: tuple(v.shape) for k, v in described().state_dict().items()} == expected


# --- A published checkpoint ---------------------------------------------------------------------


def small() -> BaseSemMix:
    return build("base", context="vision", context_layers=1, channels=4, width=8, heads=2, depth=1)


def published(network: BaseSemMix) -> dict[str, Tensor]:
    """The network's weights, with the tables of positions that published checkpoints also hold."""
    state = {name: value.clone() for name, value in network.state_dict().items()}
    state["latent_transformer.pe.pe"] = sinusoids(5000, 128)[None]
    state["latent_transformer.pe_context.pe"] = sinusoids(5000, 8)[None]
    return state


def test_a_published_checkpoint_loads_strictly() -> None:
    state = published(liven(small()))
    kept = dict(state)
    network = small()
    network.load_state_dict(state)
    assert state.keys() == kept.keys()
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[name])
    with torch.device("meta"):
        network = small()
    network.load_state_dict(state, assign=True)
    assert not any(p.is_meta for p in network.parameters())


@pytest.mark.parametrize(
    "table",
    [
        torch.zeros(1, 5000, 8),
        sinusoids(5000, 16)[None],
        sinusoids(5000, 8),
        torch.full((1, 5, 8), float("nan")),
        # Tables that would have to be made as long as these say they are.
        torch.zeros(1).expand(1, 10**10, 8),
        torch.zeros(0, 10**10, 8),
        torch.zeros(1, 0, 8),
        sinusoids(5001, 8)[None],
        sinusoids(5000, 8).expand(2, 5000, 8),
    ],
)
def test_other_positions_than_the_published_are_refused(table: Tensor) -> None:
    state = published(small()) | {"latent_transformer.pe_context.pe": table}
    with pytest.raises(RuntimeError, match=r"pe_context\.pe is not the table of sinusoids"):
        small().load_state_dict(state)


def test_missing_and_strange_parameters_are_refused() -> None:
    state = published(small())
    del state["latent_transformer.norm.bias"]
    state["loss.weight"] = torch.zeros(1)
    with pytest.raises(RuntimeError, match=r"(?s)norm\.bias.*loss\.weight"):
        small().load_state_dict(state)


# --- Configurations -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"context": "sound"}, "one of text, vision, none"),
        ({"context_attention": "batch"}, "one of time, released"),
        ({"context_layers": -1}, "context_layers is -1"),
        ({"context_layers": 10**9}, "a depth is 0 to 64"),
        ({"depth": 65}, "depth is 65"),
        ({"channels": 6}, "not a multiple of 4"),
        ({"width": 510}, "510 is not a multiple of 16"),
    ],
)
def test_odd_sizes_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BaseConfig(**change)  # type: ignore[arg-type]


def test_the_preset_is_the_papers_best() -> None:
    config = described().config
    assert (config.context, config.context_layers, config.context_attention) == ("text", 3, "time")
    assert (config.context_dim, config.latent_channels) == (4096, 768)


@pytest.mark.parametrize("layers", range(7))
def test_every_depth_of_the_context_encoder_can_be_built(layers: int) -> None:
    transformer = described("vision", layers).latent_transformer
    assert len(transformer.context_transformer_encoder.layers) == layers
