"""How a network is trained: what a run is told and its checkpoints keep."""

from __future__ import annotations

from dataclasses import dataclass

OPTIMIZERS = ("adamw", "muon")
PRODUCTS = ("fp32", "bf16")
"""Precisions that matrix products may have in training."""


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How a network is trained.

    Attributes:
        steps: optimisation steps in all; the learning rate falls to zero over the last share.
        batch: clips in a step.
        clip_s: length of a clip.
        varied_share: share of clips whose recordings are varied, see `semmix.training.variation`.
        clean_share: share of clips that come in balance: leaving good mixes alone is learnt too.
        clean_spread_lu: clips in balance come louder or quieter as a whole by up to this: how loud
            a film is says nothing of its balance.
        alone_share: share of clips with a single source, which has nothing to be balanced with.
        deliver: let mixes be heard as films deliver them, see `semmix.training.delivery`.
        scenes: cue sets without sound in a step: reading cues is learnt faster than hearing.
        parts_weight: of the losses of shares, gains and balance beside the remix's own.
        optimizer: "adamw", or "muon" for the matrices between streams and AdamW for the rest.
        precision: of matrix products, "fp32" or "bf16"; weights, sums and losses stay FP32.
        learning_rate: peak, reached after `warmup_steps`.
        decay_share: share of the steps over which the rate falls linearly to zero.
        average_decay: of the moving average of the weights that is exported.
        seed: of the network's start and of every batch.
    """

    steps: int = 12_000
    batch: int = 4
    clip_s: float = 8.0
    varied_share: float = 1.0
    clean_share: float = 0.3
    clean_spread_lu: float = 8.0
    alone_share: float = 0.05
    deliver: bool = True
    scenes: int = 24
    parts_weight: float = 0.5
    optimizer: str = "adamw"
    precision: str = "fp32"
    learning_rate: float = 2e-3
    weight_decay: float = 5e-2
    warmup_steps: int = 200
    decay_share: float = 0.3
    average_decay: float = 0.99
    clip_norm: float = 1.0
    seed: int = 1

    def __post_init__(self) -> None:
        """Raise ValueError for words that name nothing."""
        for name, known in (("optimizer", OPTIMIZERS), ("precision", PRODUCTS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r} and not {' or '.join(known)}")


def learning_rate(settings: TrainSettings, step: int) -> float:
    """Rate of a step: linear warm-up, constant, linear decay to zero."""
    warm = min(1.0, (step + 1) / max(1, settings.warmup_steps))
    decay_steps = max(1.0, settings.decay_share * settings.steps)
    fall = min(1.0, (settings.steps - step) / decay_steps)
    return settings.learning_rate * warm * max(0.0, fall)
