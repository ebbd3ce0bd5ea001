"""Checkpoints that resume exactly, written as safetensors: untrusted files stay harmless.

Weights, their moving average and the optimiser's moments are tensors; step, seed and the network's
configuration ride in the header. Batches depend only on seed and step, so nothing else is needed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from semmix.atomic import write_atomically
from semmix.bundle import Bundle
from semmix.errors import ModelFormatError, first_line
from semmix.nn import EdgeConfig, EdgeSemMix
from semmix.nn.edge import config_from_dict
from semmix.nn.engine import WEIGHTS_FILE

FORMAT = "semmix-checkpoint/1"


@dataclass
class Checkpoint:
    """All that a training run is.

    Attributes:
        config: the network's sizes.
        step: steps done.
        settings: the trainer's settings as plain values.
        model, average: parameters by name.
        optimizer: moments, keyed `<parameter>.<moment>`.
        origin: what the weights came from, as plain values; it travels into the provenance of
            the bundle that is made of them.
    """

    config: EdgeConfig
    step: int
    settings: dict[str, Any]
    model: dict[str, Tensor]
    average: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    origin: dict[str, Any] = field(default_factory=dict)

    def network(self) -> EdgeSemMix:
        """The network with its averaged weights, ready to run."""
        network = EdgeSemMix(self.config)
        network.load_state_dict(self.average)
        return network.eval()


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write atomically: an interrupted save leaves the previous file."""
    tensors = {
        f"{group}/{name}": tensor.detach().cpu().contiguous().clone()
        for group in ("model", "average", "optimizer")
        for name, tensor in getattr(checkpoint, group).items()
    }
    header = {
        "format": FORMAT,
        "step": str(checkpoint.step),
        "config": json.dumps(asdict(checkpoint.config)),
        "settings": json.dumps(checkpoint.settings),
        "origin": json.dumps(checkpoint.origin),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, save(tensors, metadata=header))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        ModelFormatError: not a checkpoint of this version, or its tensors do not fit its sizes.
    """
    groups: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "optimizer": {}}
    try:
        with safe_open(str(path), framework="pt") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise ModelFormatError(
                    f"{path}: the format is {header.get('format')!r}, expected {FORMAT!r}: "
                    "train again, or use the version that wrote it"
                )
            for key in file.keys():  # noqa: SIM118 - a safetensors handle is no dict
                group, _, name = key.partition("/")
                if group not in groups:
                    raise ModelFormatError(f"{path}: unknown tensor {key!r}; the file is foreign")
                groups[group][name] = file.get_tensor(key)
        config = config_from_dict(json.loads(header["config"]))
        checkpoint = Checkpoint(
            config,
            int(header["step"]),
            dict(json.loads(header["settings"])),
            **groups,
            origin=dict(json.loads(header.get("origin", "{}"))),
        )
        _check_tensors(checkpoint)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as exc:
        raise ModelFormatError(
            f"{path}: cannot be read as a checkpoint ({first_line(exc)}); give a file that "
            "`semmix-rt train` wrote"
        ) from exc
    return checkpoint


def _check_tensors(checkpoint: Checkpoint) -> None:
    """Hold every tensor against the network's sizes, before anything of such sizes is made.

    Raises:
        ValueError: a number no network can have, or tensors that do not fit.
    """
    config = checkpoint.config
    if checkpoint.step < 0:
        raise ValueError(f"its step is {checkpoint.step}")
    try:
        config.spec().check()
        with torch.device("meta"):
            network = EdgeSemMix(config)
    except (ModelFormatError, ArithmeticError, RuntimeError) as exc:
        raise ValueError(f"its sizes make no network: {exc}") from exc
    expected = {k: (v.shape, v.dtype) for k, v in network.state_dict().items()}
    for group in (checkpoint.model, checkpoint.average):
        if {k: (v.shape, v.dtype) for k, v in group.items()} != expected:
            raise ValueError("its weights do not fit its sizes")
    shapes = {name: parameter.shape for name, parameter in network.named_parameters()}
    for key, moment in checkpoint.optimizer.items():
        shape = shapes.get(key.rpartition(".")[0])
        if shape is None or (moment.ndim and moment.shape != shape):
            raise ValueError(f"the optimiser's {key!r} fits no weight")


def identity(bundle: Bundle) -> dict[str, str]:
    """What to call a bundle by in `Checkpoint.origin`: cards and graphs may change, weights not."""
    return {"name": bundle.name, "weights_sha256": bundle.manifest.files[WEIGHTS_FILE].sha256}


def optimizer_tensors(
    network: torch.nn.Module, optimizers: Sequence[torch.optim.Optimizer]
) -> dict[str, Tensor]:
    """The moments of every parameter by name, `step` counters included."""
    return {
        f"{name}.{key}": value if isinstance(value, Tensor) else torch.tensor(float(value))
        for name, parameter in network.named_parameters()
        for optimizer in optimizers
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def restore_optimizers(
    network: torch.nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    tensors: dict[str, Tensor],
) -> None:
    """Put moments back where `optimizer_tensors` took them."""
    parameters = dict(network.named_parameters())
    keeper = {
        parameter: optimizer
        for optimizer in optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    for key, value in tensors.items():
        name, _, moment = key.rpartition(".")
        parameter = parameters[name]
        # Counters are single numbers, which PyTorch keeps on the CPU.
        home = parameter.device if value.ndim else value.device
        keeper[parameter].state[parameter][moment] = value.to(home, copy=True)
