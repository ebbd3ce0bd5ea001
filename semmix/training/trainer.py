"""The training loop: batches by number, averaged weights, checkpoints that resume exactly."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from semmix.bundle import Bundle
from semmix.cues.text import TextEncoder
from semmix.errors import ModelFormatError, UsageError, first_line
from semmix.nn import PRESETS, EdgeConfig, EdgeSemMix
from semmix.nn.engine import weights_of
from semmix.training.batches import Batch, collate
from semmix.training.checkpoint import (
    Checkpoint,
    identity,
    load_checkpoint,
    optimizer_tensors,
    restore_optimizers,
    save_checkpoint,
)
from semmix.training.heard import heard
from semmix.training.loss import balance_loss, gain_loss, remix_loss, share_loss
from semmix.training.muon import Muon, split_parameters
from semmix.training.overrides import override
from semmix.training.scenes import SceneGenerator
from semmix.training.settings import TrainSettings, learning_rate
from semmix.training.stems import StemLibrary

_PARTS = "the attributes of semmix.nn.EdgeSemMix"
_BLAS_THREADS = "OPENBLAS_NUM_THREADS"


@dataclass(frozen=True, slots=True)
class Progress:
    """What the loop tells its display after a step."""

    step: int
    steps: int
    loss: float
    audio_s: float
    elapsed_s: float


class Trainer:
    """Train an edge network on a stem library.

    Args:
        stems: folder with `speech/`, `music/`, `effects/`.
        settings: how.
        preset: which network, where no checkpoint is resumed.
        resume: a checkpoint to go on from; its sizes and settings win, but for `steps`.
        start: a bundle whose weights a new run begins with; parts of the preset that it has not
            start by chance.
        fresh: parts that start by chance whatever the bundle has, such as `context_encoder`.
        changes: single settings and sizes of a new run, see `semmix.training.overrides`.
        workers: processes that make batches; each keeps what it has decoded in memory.
        device: where the network computes, as PyTorch names it; batches are made on the CPU.
        compiled: compile the step with `torch.compile`: minutes at the start, then a fifth
            faster on CPUs; needs a C++ compiler, and rounds otherwise than eager.

    Raises:
        MediaError: the stem folder does not serve.
        ModelFormatError: the checkpoint or the bundle does not.
        UsageError: PyTorch has no such device here.
    """

    def __init__(
        self,
        stems: Path,
        settings: TrainSettings,
        preset: str = "edge",
        resume: Path | None = None,
        start: Path | None = None,
        fresh: Sequence[str] = (),
        changes: Sequence[str] = (),
        workers: int = 1,
        compiled: bool = False,
        device: str = "cpu",
    ) -> None:
        self.device = open_device(device)
        self.stems = stems
        self.workers = workers
        self._loss = torch.compile(batch_loss) if compiled else batch_loss
        self.step = 0
        self._fitted = start is not None
        encoder = TextEncoder.default()
        if resume is not None:
            saved = load_checkpoint(resume)
            settings = replace(_saved_settings(saved, resume), steps=settings.steps)
            self.step = saved.step
            self.origin = saved.origin
            self.network = EdgeSemMix(saved.config)
        else:
            config = replace(PRESETS[preset], text_encoder=encoder.identifier)
            settings, config = override(settings, config, changes)
            torch.manual_seed(settings.seed)
            try:
                network = EdgeSemMix(config)
            except (ValueError, RuntimeError, ArithmeticError) as exc:
                raise UsageError(f"no network has these sizes ({exc}): change others") from exc
            self.origin = {}
            if start is not None:
                bundle = Bundle.load(start)
                _begin_with(network, bundle, fresh)
                self.origin["started_from"] = identity(bundle)
            self.network = network
        self.settings = settings
        self.network.to(self.device)
        # Refused here and not by a worker, whose failure to start says nothing of its cause.
        StemLibrary(stems, self.network.config.sample_rate_hz)
        self.optimizers = _optimizers(self.network, settings)
        self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        if resume is not None:
            self.network.load_state_dict(saved.model)
            self.average = {k: v.to(self.device) for k, v in saved.average.items()}
            restore_optimizers(self.network, self.optimizers, saved.optimizer)

    def checkpoint(self) -> Checkpoint:
        """The run as it stands."""
        return Checkpoint(
            config=self.network.config,
            step=self.step,
            settings=asdict(self.settings),
            model=dict(self.network.state_dict()),
            average=self.average,
            optimizer=optimizer_tensors(self.network, self.optimizers),
            origin=self.origin,
        )

    def run(
        self,
        output: Path,
        on_step: Callable[[Progress], None],
        save_every_s: float = 300.0,
    ) -> None:
        """Train to the last step, saving now and then; Ctrl-C saves too and re-raises.

        A run that fails before its first step writes nothing: what stands there is worth more.
        """
        started = saved_at = time.monotonic()
        clip_s = self.settings.batch * self.settings.clip_s
        first = self.step
        try:
            for made in self._batches():
                batch = made.to(self.device)
                if self.step == 0 and not self._fitted:
                    self._fit(batch)
                loss = self._step(batch)
                now = time.monotonic()
                on_step(
                    Progress(
                        self.step,
                        self.settings.steps,
                        loss,
                        (self.step - first) * clip_s,
                        now - started,
                    )
                )
                if now - saved_at >= save_every_s:
                    save_checkpoint(self.checkpoint(), output)
                    saved_at = now
        except BaseException:
            if self.step > first:
                save_checkpoint(self.checkpoint(), output)
            raise
        save_checkpoint(self.checkpoint(), output)

    def _fit(self, batch: Batch) -> None:
        self.network.split.fit(batch.mixture)
        for name, value in self.network.split.named_buffers(prefix="split"):
            self.average[name].copy_(value)

    def _step(self, batch: Batch) -> float:
        rate = learning_rate(self.settings, self.step)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        # Dropout of a step follows from its number, so that a resumed run draws the same.
        torch.manual_seed((self.settings.seed << 32) + self.step)
        with self._products():
            loss = self._loss(self.network, batch, self.settings.parts_weight)
        self.network.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip_norm)
        decay = min(self.settings.average_decay, (self.step + 1) / (self.step + 10))
        with _undisturbed(), torch.no_grad():
            # Muon's products need no more digits than the network's.
            with self._products():
                for optimizer in self.optimizers:
                    optimizer.step()
            for name, value in self.network.state_dict().items():
                self.average[name].lerp_(value, 1.0 - decay)
            self.step += 1
        return float(loss.detach())

    def _products(self) -> torch.autocast:
        """In this context matrix products have the precision of the settings."""
        enabled = self.settings.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def _batches(self) -> Iterator[Batch]:
        """Batches from this step on, made ahead of time in worker processes."""
        config = self.network.config
        ahead = 2 * self.workers
        # Spawned, not forked: a forked child may inherit a locked thread pool.
        context = multiprocessing.get_context("spawn")
        arguments = (self.stems, self.settings, config)
        with ProcessPoolExecutor(self.workers, context, _start_worker, arguments) as pool:
            pending: list[Future[Batch]] = []
            with _one_blas_thread():
                for step in range(self.step, min(self.step + ahead, self.settings.steps)):
                    pending.append(pool.submit(_make_batch, step))
            try:
                for step in range(self.step, self.settings.steps):
                    batch = pending.pop(0).result()
                    if step + ahead < self.settings.steps:
                        pending.append(pool.submit(_make_batch, step + ahead))
                    yield batch
            finally:
                for future in pending:
                    future.cancel()


def open_device(name: str) -> torch.device:
    """A device that computes.

    Raises:
        UsageError: PyTorch knows no such name, or has no such device here.
    """
    try:
        device = torch.device(name)
        float(torch.ones(1, device=device))
    # An assertion is how PyTorch says that it was built without CUDA.
    except (RuntimeError, AssertionError) as exc:
        raise UsageError(
            f"PyTorch has no device {name!r} here ({first_line(exc)}): name another, such as "
            "cpu, or install a PyTorch that was built for it"
        ) from exc
    return device


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """Processes started in this context have a single thread of OpenBLAS.

    It reads the variable when it is loaded. For the small products of a batch its further threads
    mostly spin, which doubles what a batch costs and is taken from the training itself.
    """
    before = os.environ.get(_BLAS_THREADS)
    os.environ[_BLAS_THREADS] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_BLAS_THREADS]
        else:
            os.environ[_BLAS_THREADS] = before


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold Ctrl-C back until the block is done: from half an update no run resumes exactly."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda number, _: held.append(number)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    if held:
        signal.raise_signal(held[0])


def _optimizers(network: EdgeSemMix, settings: TrainSettings) -> tuple[torch.optim.Optimizer, ...]:
    """What moves the weights; together they hold every parameter once."""
    parameters = list(network.parameters())
    rate, decay = settings.learning_rate, settings.weight_decay
    found: tuple[torch.optim.Optimizer, ...] = ()
    if settings.optimizer == "muon":
        matrices, parameters = split_parameters(network)
        found = (Muon(matrices, rate, weight_decay=decay),)
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return (*found, torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98)))


def _begin_with(network: EdgeSemMix, bundle: Bundle, fresh: Sequence[str]) -> None:
    """Give a network a bundle's weights; what the bundle's lacks and `fresh` stay as they are.

    A network with narrower reading of its latent frames than the bundle's gets the nearest.

    Raises:
        ModelFormatError: the bundle reads other embeddings, or has weights without a place here.
    """
    config, path = network.config, bundle.path
    reads = bundle.spec.text_encoder
    if reads != config.text_encoder:
        raise ModelFormatError(
            f"{path}: its network reads cues through {reads!r}, and this "
            f"version's training through {config.text_encoder!r}: start from another bundle"
        )
    weights = network.state_dict()
    for part in fresh:
        if part not in dict(network.named_modules()):
            raise UsageError(f"there is no part {part!r} to start afresh: see {_PARTS}")
    kept = {
        name: value
        for name, value in weights_of(bundle).items()
        if not any(name.startswith(f"{part}.") for part in fresh)
    }
    if "narrow.weight" in weights and "narrow.weight" not in kept and "from_latent.weight" in kept:
        kept |= _narrowed(kept["from_latent.weight"], config.film_rank)
    for name, value in kept.items():
        if name not in weights or weights[name].shape != value.shape:
            raise ModelFormatError(
                f"{path}: its {name} of {list(value.shape)} has no place in a network of preset "
                f"{config.name!r}: give the bundle's own --preset, start without it, or start "
                "that part afresh"
            )
    network.load_state_dict(weights | kept)


def _narrowed(weight: Tensor, rank: int) -> dict[str, Tensor]:
    """A layer `[out, in]` as two with `rank` numbers between: the nearest of that rank."""
    left, sizes, right = torch.linalg.svd(weight, full_matrices=False)
    root = sizes[:rank].sqrt()
    return {
        "from_latent.weight": left[:, :rank] * root,
        "narrow.weight": root[:, None] * right[:rank],
    }


def _saved_settings(saved: Checkpoint, path: Path) -> TrainSettings:
    try:
        return TrainSettings(**saved.settings)
    except (TypeError, ValueError) as exc:
        raise ModelFormatError(
            f"{path}: its settings are not those of this version ({exc}); train again, or use "
            "the version that wrote it"
        ) from exc


def batch_loss(network: EdgeSemMix, batch: Batch, parts_weight: float) -> Tensor:
    """Loss of what a network finds in a batch, and of how it reads the cues of further scenes."""
    found = heard(network, batch.mixture, batch.embeddings, batch.weights)
    balance = network.balance(network.context_encoder(batch.policy_embeddings))
    parts = (
        share_loss(found.shares, batch.mixture, batch.stems)
        + gain_loss(found.gains, batch.gains, batch.active)
        + balance_loss(balance, batch.policy_balance)
    )
    return remix_loss(found.mask, batch.mixture, batch.target) + parts_weight * parts


def scene_generator(library: StemLibrary, settings: TrainSettings) -> SceneGenerator:
    """The clips of a run by number: they follow from its settings and stems alone."""
    return SceneGenerator(
        library,
        settings.seed,
        settings.clip_s,
        varied_share=settings.varied_share,
        clean_share=settings.clean_share,
        delivered=settings.deliver,
        alone_share=settings.alone_share,
        clean_spread_lu=settings.clean_spread_lu,
    )


class _Worker:
    """What a worker process keeps between batches."""

    def __init__(self, stems: Path, settings: TrainSettings, config: EdgeConfig) -> None:
        torch.set_num_threads(1)
        self.settings = settings
        self.config = config
        self.encoder = TextEncoder.default()
        library = StemLibrary(stems, config.sample_rate_hz)
        self.generator = scene_generator(library, settings)

    def make(self, step: int) -> Batch:
        first = step * self.settings.batch
        examples = [self.generator.example(first + i) for i in range(self.settings.batch)]
        spec = self.config.spec()
        scenes = self.generator.scenes(step, self.settings.scenes)
        return collate(examples, scenes, spec.stft, spec.audio.sample_rate_hz, self.encoder)


_worker: _Worker | None = None


def _start_worker(stems: Path, settings: TrainSettings, config: EdgeConfig) -> None:
    global _worker
    # A terminal sends Ctrl-C to workers too; the parent ends them, without their tracebacks.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _worker = _Worker(stems, settings, config)


def _make_batch(step: int) -> Batch:
    assert _worker is not None
    return _worker.make(step)
