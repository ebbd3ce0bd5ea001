"""The training loss: the mask is judged by the spectrum it makes, its parts by what is known.

Generated mixes come with their stems and with the gains that would mend them, so that shares,
gains and the balance that cues ask for each have a truth of their own. These three terms only
speed up learning; the first is the aim.
"""

from __future__ import annotations

from torch import Tensor

COMPRESSED_WEIGHT = 0.5
COMPRESSION = 0.3
ABSENT_WEIGHT = 0.5
"""Of the gain of a source that does not sound in the clip, beside 1 for one that does."""


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
    return linear + COMPRESSED_WEIGHT * compressed


def share_loss(shares: Tensor, mixture: Tensor, stems: Tensor) -> Tensor:
    """Distance between each source's part of the mixture and the stem that went in.

    Args:
        shares: `[B, S, M, F]`, adding up to one.
        mixture: scaled magnitudes `[B, M, F]`.
        stems: scaled magnitudes of the stems in the mixture `[B, S, M, F]`.

    Returns:
        scalar: mean over the sources, each relative to its own level, a silent one to the mix's.
    """
    difference = (shares * mixture.unsqueeze(1) - stems).abs().mean((2, 3))
    level = stems.mean((2, 3)) + 0.3 * mixture.mean((1, 2)).unsqueeze(-1) + 1e-5
    return (difference / level).mean()


def gain_loss(gains: Tensor, truth: Tensor, active: Tensor) -> Tensor:
    """Mean distance in nepers of gains from those that mend the mix, and of absent sources' from 0.

    What is taken for a source that does not sound is another's noise: it is not to be raised to
    the level that the cues ask of that source.

    Args:
        gains: nepers `[B, T, S]`.
        truth: nepers `[B, S]`.
        active: 1 where the source sounds in the clip, else 0, `[B, S]`.
    """
    difference = (gains - (truth * active).unsqueeze(1)).abs().mean(1)
    weight = ABSENT_WEIGHT + (1.0 - ABSENT_WEIGHT) * active
    return (difference * weight).sum() / weight.sum()


def balance_loss(balance: Tensor, truth: Tensor) -> Tensor:
    """Mean distance in nepers of what cues are read to ask for from the policy, `[..., S]`."""
    return (balance - truth).abs().mean()
