"""Lively weights and inputs for the tests of the base network."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

Net = TypeVar("Net", bound=nn.Module)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def liven(network: Net, seed: int = 0) -> Net:
    """Give a network random parameters that let every part of it be heard in the output.

    Fresh ones would not do: residual branches start at 1e-4, the transformer's projection at
    zero, norms at one, and next to the skips around them the innermost levels are inaudible.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        random = torch.randn(parameter.shape, generator=generator)
        if name.endswith("scale"):
            random = 0.3 + 0.1 * random
        elif parameter.dim() == 1:
            one = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            random = one + 0.2 * random
        elif "conv_tr" in name:
            # Of a transposed convolution, kernel / stride values reach each place: two.
            random = random * 1.5 * (2 * parameter.shape[0]) ** -0.5
        elif parameter.dim() > 2:
            random = random * 1.5 * parameter[0].numel() ** -0.5
        else:
            random = random * parameter.shape[1] ** -0.5
        parameter.copy_(random)
    return network.eval()
