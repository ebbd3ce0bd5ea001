"""Lively weights and inputs for the tests of the base network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

Net = TypeVar("Net", bound=nn.Module)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def liven(network: Net, seed: int = 0) -> Net:
    """Give a network random parameters that let every part of it be heard in the output."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        parameter.copy_(lively(name, parameter.shape, generator))
    return network.eval()


def lively(name: str, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Random values for the parameter of that name and shape.

    Fresh ones would not do: residual branches start at 1e-4, the transformer's projection at
    zero, norms at one, and next to the skips around them the innermost levels are inaudible.
    """
    random = torch.randn(*shape, generator=generator)
    if name.endswith("scale"):
        return 0.3 + 0.1 * random
    if len(shape) == 1:
        one = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        return one + 0.2 * random
    if "conv_tr" in name:
        # Of a transposed convolution, kernel / stride values reach each place: two.
        return random * 1.5 * (2 * shape[0]) ** -0.5
    if len(shape) > 2:
        return random * 1.5 * math.prod(shape[1:]) ** -0.5
    return random * shape[1] ** -0.5
