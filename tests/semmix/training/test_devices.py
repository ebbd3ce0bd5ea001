"""Training on another device than the CPU, as far as a machine without one can show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import tolerances
import torch
from support_training import lively_network

from semmix.errors import UsageError
from semmix.nn import EdgeConfig
from semmix.training.batches import MAX_SHOTS, Batch
from semmix.training.checkpoint import load_checkpoint, optimizer_tensors, restore_optimizers
from semmix.training.muon import Muon, split_parameters
from semmix.training.settings import TrainSettings
from semmix.training.trainer import Trainer, batch_loss, open_device

META = torch.device("meta")
"""Tensors without numbers. What mixes them with the CPU's is refused, as with those of a GPU."""


def batch_of(config: EdgeConfig, clips: int = 2, frames: int = 20, scenes: int = 3) -> Batch:
    bins, sources = config.n_fft // 2 + 1, len(config.sources)
    return Batch(
        mixture=torch.rand(clips, frames, bins),
        target=torch.rand(clips, frames, bins),
        embeddings=torch.rand(clips, MAX_SHOTS, 6, config.embedding_dim),
        weights=torch.rand(clips, frames, MAX_SHOTS),
        stems=torch.rand(clips, sources, frames, bins),
        gains=torch.rand(clips, sources),
        active=torch.ones(clips, sources),
        policy_embeddings=torch.rand(scenes, 6, config.embedding_dim),
        policy_balance=torch.rand(scenes, sources),
    )


@pytest.mark.parametrize("preset", ["tiny", "edge"])
def test_all_of_a_step_is_done_where_the_network_is(preset: str) -> None:
    network = lively_network(preset).to(META)
    loss = batch_loss(network, batch_of(network.config).to(META), 0.5)
    assert loss.device == META
    loss.backward()
    matrices, _ = split_parameters(network)
    Muon(matrices).step()
    assert {p.device for p in network.parameters()} == {META}


def test_a_batch_left_behind_is_noticed() -> None:
    """The test above can fail."""
    network = lively_network("tiny").to(META)
    with pytest.raises(RuntimeError, match="device"):
        batch_loss(network, batch_of(network.config), 0.5)


def test_a_batch_moves_as_a_whole() -> None:
    batch = batch_of(lively_network("tiny").config)
    moved = batch.to(META)
    for name in Batch.__slots__:
        assert getattr(moved, name).device == META
        assert getattr(moved, name).shape == getattr(batch, name).shape


def test_moments_return_to_their_weights_and_counters_to_the_cpu() -> None:
    network = lively_network("tiny")
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    batch_loss(network, batch_of(network.config), 0.5).backward()
    optimizer.step()
    saved = optimizer_tensors(network, (optimizer,))
    elsewhere = lively_network("tiny").to(META)
    empty = torch.optim.AdamW(elsewhere.parameters(), lr=1e-3)
    restore_optimizers(elsewhere, (empty,), saved)
    for parameter in elsewhere.parameters():
        assert empty.state[parameter]["exp_avg"].device == META
        assert empty.state[parameter]["step"].device == torch.device("cpu")


@pytest.mark.parametrize("name", ["toaster", "cpu:x", "meta", "cuda:99"])
def test_devices_that_do_not_compute_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"no device '{name}'"):
        open_device(name)


@pytest.mark.gpu
def test_a_gpu_trains_like_the_cpu_and_each_resumes_the_other(stems: Path, tmp_path: Path) -> None:
    settings = TrainSettings(
        steps=4, batch=2, clip_s=0.6, scenes=3, warmup_steps=2, seed=5, optimizer="muon"
    )
    losses: dict[str, list[float]] = {"cpu": [], "cuda": []}
    for device, told in losses.items():
        path = tmp_path / f"{device}.safetensors"
        trainer = Trainer(stems, settings, "tiny", device=device)
        trainer.run(path, lambda step, told=told: told.append(step.loss))
        assert load_checkpoint(path).step == 4
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=tolerances.TRAINED_BFLOAT16)
    for device, other in (("cpu", "cuda"), ("cuda", "cpu")):
        further = replace(settings, steps=5)
        trainer = Trainer(stems, further, resume=tmp_path / f"{device}.safetensors", device=other)
        trainer.run(tmp_path / "further.safetensors", lambda step: None)
        assert load_checkpoint(tmp_path / "further.safetensors").step == 5
