"""Names, shapes and numbers of parameters: what a published checkpoint holds, to the last one."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
import torch
from support_base import liven
from torch import Tensor, nn

from semmix.nn import build
from semmix.nn.base import BaseConfig, BaseSemMix
from semmix.nn.base.config import Context
from semmix.nn.base.context import sinusoids

REFERENCE = "SEMMIX_TEST_REFERENCE"
KEY_LISTS = ("visah_keys_backbone.txt", "visah_keys_latent_text_L3.txt")


def described(context: Context = "text", layers: int = 3) -> BaseSemMix:
    """The network without memory for its parameters."""
    with torch.device("meta"):
        return build("base", context=context, context_layers=layers)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def key_lines(network: BaseSemMix) -> list[str]:
    return sorted(f"{name} {tuple(p.shape)}" for name, p in network.state_dict().items())


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
    lines = key_lines(described())
    assert len(lines) == 395 + 164
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert digest == "c08b9fb85e0b1b41b43a6088929a89a005a2399e750e2c644c168cc9246f9412"
    assert {
        "encoder.0.conv.weight (24, 1, 8, 1)",
        "encoder.4.dconv.layers.1.3.lstm.weight_ih_l1_reverse (384, 192)",
        "encoder.4.dconv.layers.0.4.query_decay.bias (16,)",
        "encoder.5.dconv.layers.1.8.scale (768,)",
        "decoder.0.conv_tr.weight (768, 384, 4)",
        "decoder.1.norm1.weight (768,)",
        "decoder.5.rewrite.weight (48, 24, 3, 3)",
        "tencoder.4.conv.weight (384, 192, 8)",
        "tdecoder.0.norm2.weight (192,)",
        "tdecoder.4.conv_tr.weight (24, 1, 8)",
        "freq_emb.embedding.weight (512, 24)",
        "latent_transformer.proj_in.weight (512, 768, 1)",
        "latent_transformer.transformer_blocks.5.attn2.to_out.0.bias (512,)",
        "latent_transformer.transformer_blocks.0.ff.net.0.proj.weight (4096, 512)",
        "latent_transformer.context_proj.weight (512, 4096)",
        "latent_transformer.context_transformer_encoder.layers.2.self_attn.in_proj_weight "
        "(1536, 512)",
    } <= set(lines)
    # Without rewrite, residual branch or second norm: the layers where the branches meet.
    assert not any(line.startswith(("tencoder.4.rewrite", "tdecoder.0.rewrite")) for line in lines)


def test_names_and_shapes_equal_the_full_lists() -> None:
    folder = os.environ.get(REFERENCE)
    if not folder:
        pytest.skip(f"set {REFERENCE} to a folder with {' and '.join(KEY_LISTS)}")
    expected = [
        line
        for name in KEY_LISTS
        for line in (Path(folder) / name).read_text(encoding="utf-8").splitlines()
        if line.strip()
    ]
    assert key_lines(described()) == sorted(expected)


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
