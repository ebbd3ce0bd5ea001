"""Published checkpoints: what is read from them, and what is refused."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from support_base import noise
from support_checkpoint import WIDTH, published, published_shapes, save_lightning, small_base

from semmix.errors import ModelFormatError
from semmix.nn import build
from semmix.nn.base import BaseSemMix, highlight
from semmix.nn.base import checkpoint as module
from semmix.nn.base.checkpoint import LISTED_KEYS, load_published
from semmix.nn.base.config import Context


def refusal(path: Path) -> str:
    """The one sentence."""
    with pytest.raises(ModelFormatError) as caught:
        load_published(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return text


# --- What is read -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("context", "layers", "depth"),
    [("text", 2, 2), ("vision", 0, 1), ("vision", 6, 2), ("none", 0, 3)],
)
def test_the_shapes_tell_the_network_and_it_sounds_the_same(
    tmp_path: Path, context: Context, layers: int, depth: int
) -> None:
    network = small_base(context, context_layers=layers, depth=depth)
    loaded = load_published(
        save_lightning(tmp_path / "visah.ckpt", published(network.state_dict()))
    )
    assert loaded.config == network.config
    assert not loaded.training
    assert not any(p.requires_grad or p.is_meta for p in loaded.parameters())
    sound = 0.1 * noise(1, 1, 40_000)
    dim = network.config.context_dim
    vectors = None if dim is None else noise(1, 3, dim, seed=2)
    with torch.inference_mode():
        assert torch.equal(highlight(loaded, sound, vectors), highlight(network, sound, vectors))


def test_how_context_attends_is_the_callers_choice(tmp_path: Path) -> None:
    path = save_lightning(tmp_path / "visah.ckpt", published(small_base().state_dict()))
    assert load_published(path).config.context_attention == "released"
    assert load_published(path, context_attention="time").config.context_attention == "time"


@pytest.mark.parametrize("form", ["plain", "legacy", "prefixed", "safetensors", "half"])
def test_other_files_of_the_same_weights_load_as_well(tmp_path: Path, form: str) -> None:
    network = small_base("none")
    state = dict(network.state_dict())
    path = tmp_path / "weights.pt"
    if form == "plain":
        torch.save(state, path)
    elif form == "legacy":
        torch.save(state, path, _use_new_zipfile_serialization=False)
    elif form == "prefixed":
        torch.save({f"model.{k}": v for k, v in state.items()}, path)
    elif form == "half":
        state = {k: v.bfloat16() for k, v in state.items()}
        torch.save(state, path)
    else:
        path = tmp_path / "weights.safetensors"
        save_file(state, path)
    loaded = load_published(path).state_dict()
    assert loaded.keys() == state.keys()
    for name, value in loaded.items():
        assert value.dtype == torch.float32
        assert torch.equal(value, state[name].float())


def test_weights_are_mapped_not_copied(tmp_path: Path) -> None:
    """Two networks from one file: each may be changed alone, and the file stays."""
    path = save_lightning(tmp_path / "visah.ckpt", published(small_base("none").state_dict()))
    before = path.read_bytes()
    first, second = load_published(path), load_published(path)
    with torch.no_grad():
        first.decoder[0].conv_tr.bias.fill_(7.0)
    assert not torch.equal(first.decoder[0].conv_tr.bias, second.decoder[0].conv_tr.bias)
    assert path.read_bytes() == before


def test_every_published_key_loads(tmp_path: Path) -> None:
    """The full list of names and shapes, in half precision for the memory's sake."""
    weights = {k: torch.zeros(shape).half() for k, shape in published_shapes().items()}
    path = save_lightning(tmp_path / "visah.ckpt", published(weights))
    loaded = load_published(path)
    # Of its 0.1 GB, pytest would keep those of the last runs.
    path.unlink()
    assert loaded.config == build_meta().config
    assert sum(p.numel() for p in loaded.parameters()) == 61_660_026


def build_meta() -> BaseSemMix:
    with torch.device("meta"):
        return build("base", context_attention="released")


# --- What is refused ----------------------------------------------------------------------------


def test_all_differences_are_named_at_once(tmp_path: Path) -> None:
    state = published(small_base().state_dict())
    del state["model.latent_transformer.norm.bias"]
    state["model.surplus.weight"] = torch.zeros(1)
    state["ema.decay"] = torch.zeros(1)
    state["model.freq_emb.embedding.weight"] = torch.zeros(512, 5)
    text = refusal(save_lightning(tmp_path / "odd.ckpt", state))
    assert "it lacks latent_transformer.norm.bias;" in text
    assert "it adds ema.decay, surplus.weight;" in text
    assert "freq_emb.embedding.weight [512, 5] instead of [512, 4]" in text


def test_long_lists_of_differences_are_cut(tmp_path: Path) -> None:
    state = published(small_base().state_dict())
    missing = [key for key in state if ".attn1." in key or ".ff." in key]
    for key in missing:
        del state[key]
    text = refusal(save_lightning(tmp_path / "odd.ckpt", state))
    assert f" and {len(missing) - LISTED_KEYS} more" in text
    assert len(text) < 2_000


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    state = published(small_base().state_dict())
    state["model.decoder.2.conv_tr.weight"][0, 0, 0] = value
    text = refusal(save_lightning(tmp_path / "odd.ckpt", state))
    assert "decoder.2.conv_tr.weight holds NaN or infinity" in text


def changed(**entries: object) -> Callable[[dict], dict]:
    return lambda state: state | {k.replace("__", "."): v for k, v in entries.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            changed(model__latent_transformer__pe_context__pe=torch.zeros(1, 5000, WIDTH)),
            "pe_context.pe is not the table of sinusoids",
        ),
        (
            changed(model__latent_transformer__pe_context__pe=torch.ones(1).expand(1, 10**10, 32)),
            "it holds only a part of latent_transformer.pe_context.pe [1, 10000000000, 32]",
        ),
        (
            changed(model__latent_transformer__pe__pe=torch.zeros(0, 10**10, 128)),
            "pe.pe is not the table of sinusoids",
        ),
        (
            changed(model__latent_transformer__context_proj__weight=torch.zeros(WIDTH, 1024)),
            "1024 wide, neither 4096 (text) nor 768 (vision)",
        ),
        (changed(model__encoder__0__conv__weight=torch.zeros(6, 1, 8, 1)), "not a multiple of 4"),
        (changed(model__encoder__0__conv__weight=torch.tensor(1.0)), "tells its sizes"),
        (changed(model__encoder__0__conv__weight=torch.zeros(4, 1, 8, 1).long()), "no dense float"),
        (changed(model__encoder__0__conv__weight="zeros"), "no dense float"),
        (changed(encoder__0__conv__weight=torch.zeros(4, 1, 8, 1)), "weights twice"),
        (
            changed(model__latent_transformer__transformer_blocks__999999999__norm1__weight=torch.zeros(WIDTH)),
            "it lacks latent_transformer.transformer_blocks.2",
        ),
        (lambda state: {}, "it is empty"),
    ],
)  # fmt: skip
def test_other_networks_are_refused(
    tmp_path: Path, change: Callable[[dict], dict], message: str
) -> None:
    assert message in refusal(
        save_lightning(tmp_path / "odd.ckpt", change(published(small_base().state_dict())))
    )


def test_shapes_that_no_bytes_stand_behind_are_refused_unmade(tmp_path: Path) -> None:
    """130 kB that describe weights of 2.4 TB, by strides of zero."""
    with torch.device("meta"):
        network = build("base", context="none", channels=4096, depth=1)
    one = torch.zeros(1)
    state = {f"model.{k}": one.expand(v.shape) for k, v in network.state_dict().items()}
    assert sum(v.numel() for v in state.values()) * one.element_size() > 2e12
    path = save_lightning(tmp_path / "wide.ckpt", state)
    assert path.stat().st_size < 200_000
    assert "it holds only a part of encoder.0.conv.weight [4096, 1, 8, 1]" in refusal(path)


def test_weights_that_share_their_bytes_are_counted_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In half precision every one would become a copy of its own."""
    state = published(small_base("none").state_dict())
    held = torch.zeros(max(v.numel() for v in state.values())).half()
    state = {k: held[: v.numel()].view(v.shape) for k, v in state.items()}
    path = save_lightning(tmp_path / "odd.ckpt", state)
    monkeypatch.setattr(module, "MAX_BYTES", 3 << 20)
    assert path.stat().st_size < 3 << 20
    assert "its weights come to" in refusal(path)


def test_layers_without_number_are_refused(tmp_path: Path) -> None:
    """Names cost a file little, and layers memory."""
    state = published(small_base("none").state_dict())
    for index in range(100):
        state[f"model.latent_transformer.transformer_blocks.{index}.x"] = torch.zeros(0)
    assert "depth is 100: a depth is 0 to 64" in refusal(
        save_lightning(tmp_path / "odd.ckpt", state)
    )


class Memory:
    """What makes a pickle of a few bytes fill as much memory as it says."""

    def __reduce__(self) -> tuple:
        return (bytearray, (1 << 30,))


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("zipped", [True, False])
def test_memory_that_a_pickle_asks_for_is_not_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool, protocol: int
) -> None:
    path = tmp_path / "odd.ckpt"
    torch.save(
        {"state_dict": {"x": torch.zeros(1)}, "callbacks": Memory()},
        path,
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=zipped,
    )
    monkeypatch.setattr(torch, "load", None)
    assert "or holds more than weights and numbers" in refusal(path)


class Hostile:
    """What a pickle could run."""

    def __reduce__(self) -> tuple:
        return (os.mkdir, ("made-by-a-pickle",))


def test_nothing_in_a_file_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "odd.ckpt"
    torch.save({"state_dict": {}, "hyper_parameters": Hostile()}, path)
    refusal(path)
    path.write_bytes(pickle.dumps(Hostile()))
    refusal(path)
    assert [p.name for p in tmp_path.iterdir()] == ["odd.ckpt"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"nonsense", b"\x80\x04.", b"\x80\x02]."])
@pytest.mark.parametrize("suffix", ["ckpt", "safetensors"])
def test_damaged_files_are_refused(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"odd.{suffix}"
    path.write_bytes(content)
    refusal(path)


def test_cut_files_are_refused(tmp_path: Path) -> None:
    path = save_lightning(tmp_path / "odd.ckpt", published(small_base("none").state_dict()))
    content = path.read_bytes()
    for share in (0.1, 0.5, 0.99):
        path.write_bytes(content[: int(len(content) * share)])
        refusal(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "absent.ckpt")
    refusal(tmp_path)


def test_files_too_large_are_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_lightning(tmp_path / "odd.ckpt", published(small_base("none").state_dict()))
    inflating = tmp_path / "bomb.ckpt"
    with zipfile.ZipFile(inflating, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(1 << 22))
    monkeypatch.setattr(module, "MAX_BYTES", 1 << 20)
    assert inflating.stat().st_size < 1 << 20 < path.stat().st_size
    assert "no file of at most" in refusal(path)
    assert "it unpacks to" in refusal(inflating)
