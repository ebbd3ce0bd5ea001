"""How closely an exported encoder must agree with PyTorch, and why."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EncoderThresholds:
    """What an exported encoder must keep to, on its worst sentence or picture.

    Attributes:
        snr_db: least energy of PyTorch's vector, or of its token states, over that of the
            difference.
        cosine: least cosine between both vectors.
    """

    snr_db: float
    cosine: float


ENCODER = EncoderThresholds(
    # Sums in another order: encoders of one to twelve layers keep 120 to 145 dB, and unbounded
    # residuals of a deep T5 cost some of that. A matrix off by a percent stays below 60 dB, tokens
    # that see padding below 20.
    snr_db=80.0,
    # What mask networks were trained on is the direction. 80 dB keep it to 1e-8; a vector that
    # is only scaled fails by its ratio, one that turned fails by both.
    cosine=0.999999,
)
