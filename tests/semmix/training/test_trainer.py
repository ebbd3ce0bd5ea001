from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tolerances
import torch
from support_training import (
    RATE_HZ,
    checkpoint_of,
    lively_network,
    masked,
    network_inputs,
    torch_bundle,
)
from torch import Tensor

from semmix.cues.text import TextEncoder
from semmix.errors import MediaError, ModelFormatError, UsageError
from semmix.nn import PRESETS
from semmix.nn.engine import network_from_bundle
from semmix.training import trainer as trainer_module
from semmix.training.batches import Batch, collate
from semmix.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from semmix.training.settings import TrainSettings, learning_rate
from semmix.training.stems import StemLibrary
from semmix.training.trainer import Progress, Trainer, scene_generator

SETTINGS = TrainSettings(steps=4, batch=2, clip_s=0.6, scenes=3, warmup_steps=2, seed=5)
MakeBatch = Callable[[int], Batch]


def ignore(progress: Progress) -> None:
    """A display that shows nothing."""


@pytest.fixture(scope="module")
def make_batch(stems: Path) -> MakeBatch:
    """Batches by number, made from the generator without the trainer's workers."""
    generator = scene_generator(StemLibrary(stems, RATE_HZ), SETTINGS)
    spec = PRESETS["tiny"].spec()

    @lru_cache(maxsize=8)
    def make(step: int) -> Batch:
        examples = [generator.example(step * SETTINGS.batch + i) for i in range(SETTINGS.batch)]
        scenes = generator.scenes(step, SETTINGS.scenes)
        return collate(examples, scenes, spec.stft, RATE_HZ, TextEncoder.default())

    return make


@pytest.fixture
def in_process(make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker processes, which take seconds to start; the batches are the same."""

    def batches(self: Trainer) -> Iterator[Batch]:
        yield from map(make_batch, range(self.step, self.settings.steps))

    monkeypatch.setattr(Trainer, "_batches", batches)


@pytest.fixture(scope="module")
def whole(stems: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Progress]]:
    """A run from start to end with real workers, and what it told its display."""
    path = tmp_path_factory.mktemp("whole") / "run.safetensors"
    told: list[Progress] = []
    Trainer(stems, SETTINGS, "tiny", workers=1).run(path, told.append)
    return path, told


def assert_same_run(one: Path, other: Path) -> None:
    first, second = load_checkpoint(one), load_checkpoint(other)
    assert first.step == second.step
    assert first.settings == second.settings
    for group in ("model", "average", "optimizer"):
        ours, theirs = getattr(first, group), getattr(second, group)
        assert ours.keys() == theirs.keys()
        for name in ours:
            assert torch.equal(ours[name], theirs[name]), f"{group}/{name}"


# --- Whole runs ---------------------------------------------------------------------------------


def test_a_run_reaches_its_last_step_and_tells_of_every_one(
    whole: tuple[Path, list[Progress]],
) -> None:
    path, told = whole
    saved = load_checkpoint(path)
    assert saved.step == 4
    assert [p.step for p in told] == [1, 2, 3, 4]
    assert [p.audio_s for p in told] == pytest.approx([1.2, 2.4, 3.6, 4.8])
    assert all(np.isfinite(p.loss) and p.steps == 4 for p in told)
    assert saved.config.text_encoder == TextEncoder.default().identifier
    assert {float(v) for k, v in saved.optimizer.items() if k.endswith(".step")} == {4.0}
    assert saved.network().config.name == "tiny"


@pytest.mark.usefixtures("in_process")
def test_a_run_that_was_stopped_and_resumed_ends_as_one_that_was_not(
    stems: Path, tmp_path: Path, whole: tuple[Path, list[Progress]]
) -> None:
    """Bit for bit, moments and averages included; Ctrl-C saves and is passed on."""
    path = tmp_path / "run.safetensors"

    def stop(progress: Progress) -> None:
        if progress.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Trainer(stems, SETTINGS, "tiny").run(path, stop)
    assert load_checkpoint(path).step == 2
    told: list[Progress] = []
    resumed = Trainer(stems, replace(SETTINGS, seed=99), "edge", resume=path)
    resumed.run(path, told.append)
    assert [p.step for p in told] == [3, 4]
    assert_same_run(path, whole[0])
    assert [p.loss for p in told] == [p.loss for p in whole[1][2:]]


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_with_two_optimisers_resumes_exactly_too(
    stems: Path, tmp_path: Path, precision: str
) -> None:
    settings = replace(SETTINGS, optimizer="muon", precision=precision)
    whole, shorter = tmp_path / "whole.safetensors", tmp_path / "shorter.safetensors"
    Trainer(stems, settings, "tiny").run(whole, ignore)

    def stop(progress: Progress) -> None:
        if progress.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Trainer(stems, settings, "tiny").run(shorter, stop)
    Trainer(stems, settings, resume=shorter).run(shorter, ignore)
    assert_same_run(shorter, whole)
    moments = {k.rpartition(".")[2] for k in load_checkpoint(whole).optimizer}
    assert moments == {"velocity", "exp_avg", "exp_avg_sq", "step"}


@pytest.mark.usefixtures("in_process")
def test_ctrl_c_in_the_middle_of_an_update_waits_for_its_end(
    stems: Path, tmp_path: Path, whole: tuple[Path, list[Progress]]
) -> None:
    """Half of the weights updated and the step not counted: no such run resumes exactly."""
    path = tmp_path / "run.safetensors"
    trainer = Trainer(stems, SETTINGS, "tiny")
    (adamw,) = trainer.optimizers
    update = adamw.step

    def interrupted() -> None:
        update()
        if trainer.step == 1:
            signal.raise_signal(signal.SIGINT)

    adamw.step = interrupted  # type: ignore[method-assign]
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        trainer.run(path, ignore)
    assert signal.getsignal(signal.SIGINT) is handler
    assert load_checkpoint(path).step == 2
    Trainer(stems, SETTINGS, resume=path).run(path, ignore)
    assert_same_run(path, whole[0])


@pytest.mark.parametrize("before", [None, "7"])
def test_batches_are_made_with_one_thread_of_blas(
    stems: Path, monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    """Its further threads would spin on the cores that train; and it is theirs alone to say so."""
    seen: list[str | None] = []

    class Pool(ProcessPoolExecutor):
        def submit(self, *call: Any, **keys: Any) -> Future[Any]:
            found = super().submit(os.getenv, "OPENBLAS_NUM_THREADS")
            seen.append(found.result())
            return found

    monkeypatch.setattr(trainer_module, "ProcessPoolExecutor", Pool)
    if before is None:
        monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", before)
    # What comes is no batch, and is asked for nothing.
    assert list(Trainer(stems, SETTINGS, "tiny")._batches()) == seen
    assert set(seen) == {"1"}
    assert os.environ.get("OPENBLAS_NUM_THREADS") == before


@pytest.mark.usefixtures("in_process")
def test_a_run_saves_now_and_then(stems: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    saved: list[int] = []

    def look(progress: Progress) -> None:
        saved.append(load_checkpoint(path).step if path.exists() else 0)

    Trainer(stems, SETTINGS, "tiny").run(path, look, save_every_s=0.0)
    assert saved == [0, 1, 2, 3]


def test_a_run_that_fails_before_its_first_step_leaves_what_stands_there(
    stems: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def batches(self: Trainer) -> Iterator[Batch]:
        raise MediaError("no sound")
        yield

    monkeypatch.setattr(Trainer, "_batches", batches)
    path = tmp_path / "run.safetensors"
    for content in (None, b"precious"):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(MediaError, match="no sound"):
            Trainer(stems, SETTINGS, "tiny").run(path, ignore)
        assert (path.read_bytes() if path.exists() else None) == content


@pytest.mark.usefixtures("in_process")
def test_a_finished_run_is_only_copied(
    stems: Path, tmp_path: Path, whole: tuple[Path, list[Progress]]
) -> None:
    path = tmp_path / "copy.safetensors"
    told: list[Progress] = []
    Trainer(stems, SETTINGS, resume=whole[0]).run(path, told.append)
    assert told == []
    assert_same_run(path, whole[0])


# --- Starting -----------------------------------------------------------------------------------


def test_the_seed_fixes_the_start(stems: Path) -> None:
    def start(seed: int) -> dict[str, Tensor]:
        return Trainer(stems, replace(SETTINGS, seed=seed), "tiny").checkpoint().model

    one, same, other = start(1), start(1), start(2)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["to_latent.weight"], other["to_latent.weight"])


def test_a_resumed_run_keeps_its_sizes_and_settings_but_for_the_steps(
    stems: Path, tmp_path: Path
) -> None:
    path = tmp_path / "run.safetensors"
    network = lively_network("tiny", width=16)
    save_checkpoint(checkpoint_of(network, step=3, seed=8, batch=5, steps=10), path)
    trainer = Trainer(stems, TrainSettings(steps=7, seed=1, batch=2), "edge", resume=path)
    assert trainer.settings == TrainSettings(steps=7, seed=8, batch=5)
    assert trainer.network.config == network.config
    assert trainer.step == 3


@pytest.mark.parametrize("settings", [{"colour": "red"}, {"seed": 1, "tempo": 120}])
def test_settings_of_another_version_are_refused(
    stems: Path, tmp_path: Path, settings: dict[str, object]
) -> None:
    path = tmp_path / "run.safetensors"
    save_checkpoint(checkpoint_of(lively_network("tiny"), **settings), path)
    with pytest.raises(ModelFormatError, match=r"run\.safetensors: its settings"):
        Trainer(stems, SETTINGS, resume=path)


@pytest.mark.usefixtures("in_process")
def test_a_new_run_may_start_from_a_bundle(stems: Path, tmp_path: Path) -> None:
    """Its weights and its scaling of the bins; the first step is a first step."""
    encoder = TextEncoder.default().identifier
    network = lively_network("tiny", meter_memory_s=0.0, text_encoder=encoder)
    bundle = torch_bundle(tmp_path / "bundle", network)
    trainer = Trainer(stems, SETTINGS, "tiny", start=tmp_path / "bundle")
    assert trainer.step == 0
    before = trainer.checkpoint()
    for name, value in network.state_dict().items():
        assert torch.equal(before.model[name], value)
        assert torch.equal(before.average[name], value)
    assert {n.partition(".")[0] for n in before.model.keys() - network.state_dict().keys()} == {
        "metered_gain"
    }
    path = tmp_path / "run.safetensors"
    trainer.run(path, ignore)
    saved = load_checkpoint(path)
    after = saved.model
    assert torch.equal(after["split.mean"], network.split.mean)
    assert not torch.equal(after["to_latent.weight"], network.to_latent.weight)
    weights = hashlib.sha256(bundle.read("network.safetensors")).hexdigest()
    assert saved.origin == {"started_from": {"name": "tiny", "weights_sha256": weights}}
    assert Trainer(stems, SETTINGS, resume=path).checkpoint().origin == saved.origin


@pytest.mark.parametrize(("rank", "same"), [(32, True), (24, False)])
def test_a_network_may_start_with_narrower_reading_of_its_latent_frames(
    stems: Path, tmp_path: Path, rank: int, same: bool
) -> None:
    """What is read of latent frames is the nearest of its rank."""
    encoder = TextEncoder.default().identifier
    network = lively_network("tiny", text_encoder=encoder, film_rank=0)
    torch_bundle(tmp_path / "bundle", network)
    changes = (f"film_rank={rank}",)
    narrow = Trainer(stems, SETTINGS, "tiny", start=tmp_path / "bundle", changes=changes).network
    inputs = network_inputs(network)
    before, after = masked(network, *inputs).mask, masked(narrow.eval(), *inputs).mask
    assert torch.allclose(before, after, rtol=0.0, atol=tolerances.LAYER_FLOAT32) == same
    assert narrow.narrow.weight is not None
    product = narrow.from_latent.weight @ narrow.narrow.weight
    error = torch.linalg.matrix_norm(network.from_latent.weight - product)
    # Eckart and Young: no matrix of that rank is nearer than by the singular values left out.
    left_out = torch.linalg.svdvals(network.from_latent.weight)[rank:].norm()
    torch.testing.assert_close(error, left_out, rtol=1e-3, atol=1e-5)


def test_a_part_may_start_afresh_in_another_size(stems: Path, tmp_path: Path) -> None:
    """How the depth of the context encoder is compared on one trunk."""
    network = lively_network("tiny", text_encoder=TextEncoder.default().identifier)
    torch_bundle(tmp_path / "bundle", network)
    for layers in (0, 3):
        changes = (f"context_layers={layers}", "average_decay=0.5")
        start = {"start": tmp_path / "bundle", "fresh": ("context_encoder",)}
        trainer = Trainer(stems, SETTINGS, "tiny", changes=changes, **start)
        assert trainer.settings.average_decay == 0.5
        assert len(trainer.network.context_encoder.layers) == layers
        weights = trainer.checkpoint().model
        for name, value in network.state_dict().items():
            if not name.startswith("context_encoder."):
                assert torch.equal(weights[name], value)
        name = "context_encoder.context_proj.weight"
        assert not torch.equal(weights[name], network.state_dict()[name])
    with pytest.raises(UsageError, match="no part 'brain'"):
        Trainer(stems, SETTINGS, "tiny", start=tmp_path / "bundle", fresh=("brain",))


@pytest.mark.parametrize("change", ["heads=0", "heads=5", "band_hidden=-1"])
def test_sizes_that_make_no_network_are_refused(stems: Path, change: str) -> None:
    with pytest.raises(UsageError, match="no network has these sizes"):
        Trainer(stems, SETTINGS, "tiny", changes=(change,))


def test_a_bundle_from_before_a_part_had_all_its_weights_is_a_start(
    stems: Path, tmp_path: Path
) -> None:
    """What it lacks begins by chance; it need not be a network that this version could run."""
    network = lively_network("tiny", text_encoder=TextEncoder.default().identifier)
    assert network.metered_gain is not None
    before = {k: v.clone() for k, v in network.state_dict().items()}
    network.metered_gain.need = torch.nn.Identity()  # type: ignore[assignment]
    bundle = torch_bundle(tmp_path / "bundle", network)
    with pytest.raises(ModelFormatError, match="no PyTorch network can be made"):
        network_from_bundle(bundle)
    trainer = Trainer(stems, SETTINGS, "tiny", start=tmp_path / "bundle")
    after = trainer.network.state_dict()
    lacked = {"metered_gain.need.weight", "metered_gain.need.bias"}
    assert lacked <= after.keys()
    for name in after.keys() - lacked:
        torch.testing.assert_close(after[name], before[name])


def test_a_bundle_that_reads_other_cues_is_no_start(stems: Path, tmp_path: Path) -> None:
    network = lively_network("tiny", text_encoder="words/1")
    torch_bundle(tmp_path / "bundle", network)
    with pytest.raises(ModelFormatError, match="reads cues through 'words/1'"):
        Trainer(stems, SETTINGS, "tiny", start=tmp_path / "bundle")


def test_a_bundle_of_other_sizes_is_no_start(stems: Path, tmp_path: Path) -> None:
    encoder = TextEncoder.default().identifier
    network = lively_network("tiny", width=16, text_encoder=encoder)
    torch_bundle(tmp_path / "bundle", network)
    with pytest.raises(ModelFormatError, match="has no place in a network of preset 'tiny'"):
        Trainer(stems, SETTINGS, "tiny", start=tmp_path / "bundle")


def test_stems_that_do_not_serve_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no folder 'speech'"):
        Trainer(tmp_path, SETTINGS, "tiny")


def test_biases_and_norms_are_not_decayed(stems: Path) -> None:
    trainer = Trainer(stems, replace(SETTINGS, weight_decay=0.25), "tiny")
    decayed, plain = trainer.optimizers[0].param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.25, 0.0)
    assert all(p.ndim >= 2 for p in decayed["params"])
    assert all(p.ndim < 2 for p in plain["params"])
    total = len(decayed["params"]) + len(plain["params"])
    assert total == len(list(trainer.network.parameters()))


# --- Steps --------------------------------------------------------------------------------------


def test_the_loss_falls_on_a_fixed_batch(
    stems: Path, tmp_path: Path, make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def batches(self: Trainer) -> Iterator[Batch]:
        yield from [make_batch(0)] * 15

    monkeypatch.setattr(Trainer, "_batches", batches)
    settings = replace(SETTINGS, steps=15, warmup_steps=1, learning_rate=5e-3)
    told: list[Progress] = []
    Trainer(stems, settings, "tiny").run(tmp_path / "run.safetensors", told.append)
    losses = [p.loss for p in told]
    assert np.mean(losses[-3:]) < 0.75 * np.mean(losses[:2])


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_products_have_the_precision_asked_for_and_weights_stay_fp32(
    stems: Path, make_batch: MakeBatch, precision: str, dtype: torch.dtype
) -> None:
    # Slow enough for two runs to stay together: at 5e-3 what was rounded grows to 5 %.
    settings = replace(SETTINGS, optimizer="muon", precision=precision, steps=12)
    trainer = Trainer(stems, settings, "tiny")
    seen: set[torch.dtype] = set()
    trainer.network.to_latent.register_forward_hook(lambda _m, _i, output: seen.add(output.dtype))
    losses = [trainer._step(make_batch(0)) for _ in range(12)]
    assert seen == {dtype}
    saved = trainer.checkpoint()
    tensors = (*saved.model.values(), *saved.average.values(), *saved.optimizer.values())
    assert all(t.dtype is torch.float32 for t in tensors if t.is_floating_point())
    reference = Trainer(stems, replace(settings, precision="fp32"), "tiny")
    expected = [reference._step(make_batch(0)) for _ in range(12)]
    np.testing.assert_allclose(losses, expected, rtol=tolerances.TRAINED_BFLOAT16)
    assert losses[-1] < 0.85 * losses[0]
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("average_decay", [0.15, 0.998])
def test_the_average_follows_the_weights(stems: Path, tmp_path: Path, average_decay: float) -> None:
    settings = replace(SETTINGS, average_decay=average_decay, learning_rate=0.02)
    trainer = Trainer(stems, settings, "tiny")

    def weights() -> dict[str, np.ndarray]:
        return {k: v.double().numpy().copy() for k, v in trainer.network.state_dict().items()}

    expected, seen = weights(), []
    trainer.run(tmp_path / "run.safetensors", lambda progress: seen.append(weights()))
    for step, current in enumerate(seen):
        # The first steps count more, so that the start is soon forgotten.
        decay = min(average_decay, (step + 1) / (step + 10))
        for name, value in current.items():
            fitted = name in ("split.mean", "split.scale")
            expected[name] = value if fitted else decay * expected[name] + (1 - decay) * value
    for name, value in trainer.average.items():
        np.testing.assert_allclose(value, expected[name], atol=tolerances.LAYER_FLOAT32)
    assert not torch.equal(trainer.average["to_latent.weight"], trainer.network.to_latent.weight)


@pytest.mark.usefixtures("in_process")
def test_magnitudes_are_centred_by_the_first_batch_and_then_fixed(
    stems: Path, tmp_path: Path, make_batch: MakeBatch
) -> None:
    path = tmp_path / "run.safetensors"
    Trainer(stems, SETTINGS, "tiny").run(path, ignore)
    saved: Checkpoint = load_checkpoint(path)
    mixture = make_batch(0).mixture.flatten(0, 1).double().numpy()
    mean = ((mixture + 1e-7) ** 0.3).mean(0)
    for group in (saved.model, saved.average):
        np.testing.assert_allclose(group["split.mean"][:1025], mean, atol=tolerances.LAYER_FLOAT32)


@pytest.mark.parametrize("decay_share", [0.3, 0.5])
def test_the_rate_warms_up_stays_and_falls_to_zero(decay_share: float) -> None:
    settings = TrainSettings(
        steps=1_000, learning_rate=0.01, warmup_steps=100, decay_share=decay_share
    )
    rates = np.array([learning_rate(settings, step) for step in range(1_001)])
    falls = round(1_000 * (1.0 - decay_share))
    np.testing.assert_allclose(rates[:100], 0.01 * np.arange(1, 101) / 100)
    np.testing.assert_allclose(rates[100 : falls + 1], 0.01)
    np.testing.assert_allclose(rates[falls:], np.linspace(0.01, 0.0, 1_001 - falls), atol=1e-12)
    assert np.all(rates[:1_000] > 0.0)
    assert learning_rate(settings, 1_100) == 0.0


def test_the_rate_of_a_run_is_that_of_its_schedule(
    stems: Path, tmp_path: Path, make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trainer, "_batches", lambda self: iter([make_batch(0)] * 4))
    trainer = Trainer(stems, replace(SETTINGS, optimizer="muon"), "tiny")
    rates: list[float] = []
    trainer.run(
        tmp_path / "run.safetensors",
        lambda progress: rates.extend(
            {g["lr"] for optimizer in trainer.optimizers for g in optimizer.param_groups}
        ),
    )
    assert rates == [learning_rate(SETTINGS, step) for step in range(4)]
