"""Muon: momentum whose step on a matrix is orthogonalised (K. Jordan et al., 2024).

Every singular direction of a matrix moves by the same amount, where AdamW lets a few large ones
rule. Steps are scaled to the size that AdamW's typically have (J. Liu et al., arXiv 2502.16982,
section 2.2), so both share one learning rate and one weight decay.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration: steep at zero, so that five rounds suffice; singular values end
between 0.7 and 1.2."""
_ROUNDS = 5
_STEP_RMS = 0.2
"""Root mean square of a step over the learning rate."""
_MIN_SIDE = 16
"""Matrices with a shorter side are biases and maps to a few values: AdamW's."""


class Muon(torch.optim.Optimizer):
    """Optimise matrices; of a tensor `[..., rows, columns]` each matrix stands for itself.

    Args:
        parameters: tensors of two or more dimensions.
        lr: learning rate.
        momentum: of the Nesterov kind.
        weight_decay: decoupled, times the learning rate.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 2e-3,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "velocity" not in state:
                    state["velocity"] = torch.zeros_like(parameter)
                velocity = state["velocity"]
                velocity.lerp_(parameter.grad, 1.0 - group["momentum"])
                ahead = parameter.grad.lerp(velocity, group["momentum"])
                rows, columns = parameter.shape[-2:]
                scale = _STEP_RMS * max(rows, columns) ** 0.5
                parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
                parameter.sub_(orthogonalised(ahead), alpha=group["lr"] * scale)


def orthogonalised(matrix: Tensor) -> Tensor:
    """About the nearest matrices with orthonormal rows or columns, `[..., rows, columns]`.

    Singular values that are not tiny come out between 0.7 and 1.2, which serves as well as 1.
    """
    a, b, c = _COEFFICIENTS
    tall = matrix.shape[-2] > matrix.shape[-1]
    x: Tensor = matrix.transpose(-2, -1) if tall else matrix
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-12)
    for _ in range(_ROUNDS):
        gram = x @ x.transpose(-2, -1)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.transpose(-2, -1) if tall else x


def split_parameters(network: nn.Module) -> tuple[list[Parameter], list[Parameter]]:
    """The matrices between a network's streams, for Muon, and all else, for AdamW.

    The first and last layers (`split`, `head`) are no maps between streams: their rows are bins,
    each with a scale of its own, which orthogonal steps would level.
    """
    matrices: list[Parameter] = []
    others: list[Parameter] = []
    for name, parameter in network.named_parameters():
        outer = name.startswith(("split.", "head."))
        matrix = parameter.ndim >= 2 and min(parameter.shape[-2:]) >= _MIN_SIDE and not outer
        (matrices if matrix else others).append(parameter)
    return matrices, others
