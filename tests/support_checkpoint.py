"""Small networks of the paper's architecture, and files as their weights are published."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product
from pathlib import Path

import torch
from support_base import lively, liven
from torch import Tensor

from semmix.nn import BaseSemMix, build
from semmix.nn.base.config import Context
from semmix.nn.base.context import sinusoids

PUBLISHED = Path(__file__).with_name("published_parameters.txt")
WIDTH = 32

_FURTHER_LAYER = re.compile(
    r"latent_transformer\.(context_transformer_encoder\.layers|transformer_blocks)\.[2-9]\."
)

Shapes = dict[str, tuple[int, ...]]


def small_base(context: Context = "text", **sizes: object) -> BaseSemMix:
    """The paper's architecture, narrow, with lively weights."""
    settings = {"context_layers": 2, "channels": 4, "width": WIDTH, "depth": 2} | sizes
    network = build("base", context=context, context_attention="released", **settings)
    return liven(network, seed=1).requires_grad_(False)


def published_shapes() -> Shapes:
    """Every parameter of a published checkpoint, by a list and not by this project's network."""
    shapes: Shapes = {}
    for line in PUBLISHED.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            packed, *sizes = line.split()
            # Numbers in braces come out of the split at odd places.
            parts = re.split(r"{([\d,]+)}", packed)
            for names in product(*(part.split(",") for part in parts)):
                shapes["".join(names)] = tuple(map(int, sizes))
    return shapes


def narrow_shapes() -> Shapes:
    """The same with 4 instead of 24 channels, a transformer of 32 instead of 512, and two layers.

    More layers have the same names over again, and cost exports and compilers minutes.
    """

    def narrowed(name: str, size: int) -> int:
        if size % 6 == 0 and (size == 768 or not name.startswith("latent_transformer.")):
            return size // 6
        if size % 512 == 0 and name.startswith("latent_transformer."):
            return size // 16
        return size

    shapes = {
        name: tuple(narrowed(name, size) for size in shape)
        for name, shape in published_shapes().items()
        if not _FURTHER_LAYER.match(name)
    }
    # Context vectors are as wide as ever.
    return shapes | {"latent_transformer.context_proj.weight": (WIDTH, 4096)}


def lively_weights(shapes: Shapes) -> dict[str, Tensor]:
    """Random weights that let every part of a network be heard."""
    generator = torch.Generator().manual_seed(1)
    return {name: lively(name, shape, generator) for name, shape in shapes.items()}


def published(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Entries as they are published: with position tables and the weights of a loss."""
    channels = weights["latent_transformer.norm.weight"].shape[0]
    width = weights["latent_transformer.proj_in.weight"].shape[0]
    state = {f"model.{name}": value.clone() for name, value in weights.items()}
    state["model.latent_transformer.pe.pe"] = sinusoids(5000, channels)[None]
    state["model.latent_transformer.pe_context.pe"] = sinusoids(5000, width)[None]
    state["stft_loss.stft_losses.0.window"] = torch.hann_window(2048)
    return state


def save_lightning(path: Path, state: dict[str, Tensor]) -> Path:
    """A file as Lightning writes it, with an optimiser beside the weights."""
    content = {
        "epoch": 199,
        "global_step": 125_600,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": state,
        "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": []}],
        "lr_schedulers": [],
    }
    torch.save(content, path)
    return path
