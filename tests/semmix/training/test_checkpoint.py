from __future__ import annotations

import json
import pickle
import stat
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from support_training import checkpoint_of, lively_network, masked, network_inputs

from semmix.errors import ModelFormatError
from semmix.training.checkpoint import (
    FORMAT,
    Checkpoint,
    load_checkpoint,
    optimizer_tensors,
    restore_optimizers,
    save_checkpoint,
)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    """The tiny network after two steps of AdamW, its average apart from its weights."""
    network = lively_network("tiny", text_encoder="words/1")
    before = checkpoint_of(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(2):
        sum((p**2).sum() for p in network.parameters()).backward()
        optimizer.step()
    settings = {"seed": 3, "learning_rate": 2e-3, "batch": 4}
    moments = optimizer_tensors(network, [optimizer])
    model = dict(network.state_dict())
    return Checkpoint(network.config, 2, settings, model, before.average, moments)


@pytest.fixture
def saved(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    path = tmp_path / "run.safetensors"
    save_checkpoint(checkpoint, path)
    return path


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert set(one) == set(other)
    for name, value in one.items():
        assert value.dtype == other[name].dtype
        assert torch.equal(value, other[name]), name


def test_everything_saved_is_loaded(checkpoint: Checkpoint, saved: Path) -> None:
    again = load_checkpoint(saved)
    assert again.config == checkpoint.config
    assert again.step == 2
    assert again.settings == checkpoint.settings
    assert_equal(again.model, checkpoint.model)
    assert_equal(again.average, checkpoint.average)
    assert_equal(again.optimizer, checkpoint.optimizer)
    assert len(checkpoint.optimizer) == 3 * len(list(again.network().parameters()))


def test_the_network_of_a_checkpoint_is_the_averaged_one(checkpoint: Checkpoint) -> None:
    network = checkpoint.network()
    assert not network.training
    assert_equal(dict(network.state_dict()), checkpoint.average)
    original = lively_network("tiny", text_encoder="words/1")
    inputs = network_inputs(original)
    assert torch.equal(masked(network, *inputs).mask, masked(original, *inputs).mask)


def test_moments_return_to_their_parameters(checkpoint: Checkpoint) -> None:
    """By name, so that the order of the parameters in the optimiser does not matter."""
    network = lively_network("tiny")
    optimizer = torch.optim.AdamW(reversed(list(network.parameters())), lr=1e-2)
    restore_optimizers(network, [optimizer], checkpoint.optimizer)
    assert_equal(optimizer_tensors(network, [optimizer]), checkpoint.optimizer)
    parameter = network.gain_head.bias
    moment = optimizer.state[parameter]["exp_avg"]
    assert torch.equal(moment, checkpoint.optimizer["gain_head.bias.exp_avg"])
    assert float(optimizer.state[parameter]["step"]) == 2.0


def test_a_checkpoint_is_plain_safetensors(saved: Path) -> None:
    with safe_open(str(saved), framework="pt") as file:
        header = file.metadata()
        groups = {key.partition("/")[0] for key in file.keys()}  # noqa: SIM118
    assert header["format"] == FORMAT
    assert groups == {"model", "average", "optimizer"}
    assert json.loads(header["config"])["name"] == "tiny"


# --- Saving -------------------------------------------------------------------------------------


def test_saving_makes_folders_and_leaves_no_other_file(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    path = tmp_path / "deep" / "er" / "run.safetensors"
    for _ in range(2):
        save_checkpoint(checkpoint, path)
    assert [p.name for p in path.parent.iterdir()] == ["run.safetensors"]


def test_a_checkpoint_may_be_read_like_any_other_file(saved: Path) -> None:
    ordinary = saved.with_name("ordinary")
    ordinary.write_bytes(b"")
    assert stat.S_IMODE(saved.stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)


@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failed_save_leaves_the_old_file(
    checkpoint: Checkpoint, saved: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    before = saved.read_bytes()

    def fail(self: Path, target: Path) -> None:
        raise failure

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(type(failure)):
        save_checkpoint(checkpoint, saved)
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]
    assert saved.read_bytes() == before


# --- Files that are no checkpoints ----------------------------------------------------------------


def refusal(path: Path) -> str:
    with pytest.raises(ModelFormatError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 700
    return message


class Bomb:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.mark,)


def test_pickles_are_refused_and_never_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    plain, zipped = tmp_path / "run.safetensors", tmp_path / "run.pt"
    plain.write_bytes(pickle.dumps(Bomb(mark)))
    torch.save({"model": Bomb(mark)}, zipped)
    for path in (plain, zipped):
        refusal(path)
    assert not mark.exists()
    pickle.loads(plain.read_bytes())
    assert mark.exists(), "the bomb must work, or this test says nothing"


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"\xff" * 100, b"PK\x03\x04"])
def test_files_of_other_kinds_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.safetensors"
    path.write_bytes(content)
    assert "semmix-rt train" in refusal(path)


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.999])
def test_truncated_files_are_refused(saved: Path, kept: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * kept)])
    refusal(saved)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    refusal(tmp_path / "nowhere.safetensors")
    refusal(tmp_path)


def rewrite(
    checkpoint: Checkpoint,
    path: Path,
    header: dict[str, str | None] | None = None,
    tensors: dict[str, torch.Tensor | None] | None = None,
    config: dict[str, Any] | None = None,
) -> Path:
    """A checkpoint with changed header entries and tensors; None removes one."""
    parts: dict[str, Any] = {
        f"{group}/{name}": value.contiguous().clone()
        for group in ("model", "average", "optimizer")
        for name, value in getattr(checkpoint, group).items()
    }
    facts: dict[str, Any] = {
        "format": FORMAT,
        "step": "2",
        "config": json.dumps(asdict(checkpoint.config) | (config or {})),
        "settings": "{}",
    }
    parts |= tensors or {}
    facts |= header or {}
    save_file(
        {name: value for name, value in parts.items() if value is not None},
        path,
        {name: value for name, value in facts.items() if value is not None},
    )
    return path


@pytest.mark.parametrize(
    ("header", "clue"),
    [
        ({"format": "semmix-checkpoint/2"}, "semmix-checkpoint/2"),
        ({"format": None}, "None"),
        ({"step": None}, "step"),
        ({"step": "two"}, "two"),
        ({"step": "-1"}, "its step is -1"),
        ({"config": None}, "config"),
        ({"config": "{"}, "read as a checkpoint"),
        ({"config": "[" * 100_000}, "recursion"),
        ({"config": "[]"}, "read as a checkpoint"),
        ({"settings": "3"}, "read as a checkpoint"),
    ],
)
def test_odd_headers_are_refused(
    checkpoint: Checkpoint, tmp_path: Path, header: dict[str, str | None], clue: str
) -> None:
    assert clue in refusal(rewrite(checkpoint, tmp_path / "odd.safetensors", header=header))


@pytest.mark.parametrize(
    "config",
    [
        {"heads": 0},
        {"heads": 3},
        {"width": 0},
        {"width": 64},
        {"width": 60_000},
        {"feed_forward": 10**9},
        {"depth": 10**9},
        {"context_layers": 10**12},
        {"channels": -8},
        {"n_fft": 2**40},
        {"sample_rate_hz": 1},
        {"max_gain_db": float("nan")},
        {"groups": [{"bands": 10**15, "bins": 10**15}]},
        {"groups": [{"bins": 2}]},
        {"encoder_dilations": [10**30]},
        # Zeros add nothing to the state that a spec limits, and names cost a file little.
        {"encoder_dilations": [0] * 100_000},
        {"groups": [{"bands": 1, "bins": 2}] * 100_000},
        {"name": "tiny", "surprise": 1},
        {"stride": "4"},
    ],
    ids=str,
)
def test_sizes_that_do_not_fit_the_weights_are_refused_before_they_cost_memory(
    checkpoint: Checkpoint, tmp_path: Path, config: dict[str, Any]
) -> None:
    refusal(rewrite(checkpoint, tmp_path / "odd.safetensors", config=config))


@pytest.mark.parametrize(
    ("tensors", "clue"),
    [
        ({"extra/x": torch.zeros(1)}, "extra/x"),
        ({"average/head.bias": None}, "do not fit"),
        ({"model/head.bias": None}, "do not fit"),
        ({"model/head.bias": torch.zeros(3)}, "do not fit"),
        ({"model/surprise": torch.zeros(3)}, "do not fit"),
        ({"model/head.bias": torch.zeros(3, 1, 1025, dtype=torch.float16)}, "do not fit"),
        ({"optimizer/surprise.exp_avg": torch.zeros(3)}, "surprise.exp_avg"),
        ({"optimizer/head.bias.exp_avg": torch.zeros(3)}, "head.bias.exp_avg"),
    ],
)
def test_foreign_tensors_are_refused(
    checkpoint: Checkpoint, tmp_path: Path, tensors: dict[str, Any], clue: str
) -> None:
    assert clue in refusal(rewrite(checkpoint, tmp_path / "odd.safetensors", tensors=tensors))


def test_the_rewritten_file_is_good_where_nothing_was_changed(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    """So that the refusals above are for what was changed."""
    again = load_checkpoint(rewrite(checkpoint, tmp_path / "same.safetensors"))
    assert_equal(again.model, checkpoint.model)
