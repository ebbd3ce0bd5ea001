"""Small networks of the paper's architecture, and files as their weights are published."""

from __future__ import annotations

from pathlib import Path

import torch
from support_base import liven
from torch import Tensor

from semmix.nn import BaseSemMix, build
from semmix.nn.base.config import Context
from semmix.nn.base.context import sinusoids

WIDTH = 32


def small_base(context: Context = "text", **sizes: object) -> BaseSemMix:
    """The paper's architecture, narrow, with lively weights."""
    settings = {"context_layers": 2, "channels": 4, "width": WIDTH, "depth": 2} | sizes
    network = build("base", context=context, context_attention="released", **settings)
    return liven(network, seed=1).requires_grad_(False)


def published(network: BaseSemMix) -> dict[str, Tensor]:
    """Entries as they are published: with position tables and the weights of a loss."""
    state = {f"model.{name}": value.clone() for name, value in network.state_dict().items()}
    state["model.latent_transformer.pe.pe"] = sinusoids(5000, network.config.latent_channels)[None]
    state["model.latent_transformer.pe_context.pe"] = sinusoids(5000, network.config.width)[None]
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
