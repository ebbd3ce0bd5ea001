"""The training loss, on magnitudes: the mask is judged by the spectrum it makes."""

from __future__ import annotations

from torch import Tensor

LINEAR_WEIGHT = 1.0
COMPRESSED_WEIGHT = 0.5
COMPRESSION = 0.3


def remix_loss(mask: Tensor, mixture: Tensor, target: Tensor) -> Tensor:
    """Distance between the masked mixture and the target.

    The linear part is the MAG metric up to its window, relative to each clip's level, so that
    loud clips do not rule; the compressed part hears what lies 30 dB below.

    Args:
        mask: linear gain `[B, M, F]`.
        mixture, target: scaled magnitudes `[B, M, F]`.

    Returns:
        scalar.
    """
    estimate = mask * mixture
    level = target.mean((1, 2), keepdim=True) + 1e-5
    linear = ((estimate - target).abs() / level).mean()
    compressed = (
        (estimate + 1e-5).pow(COMPRESSION) - (target + 1e-5).pow(COMPRESSION)
    ).abs().mean() / (target + 1e-5).pow(COMPRESSION).mean()
    return LINEAR_WEIGHT * linear + COMPRESSED_WEIGHT * compressed
