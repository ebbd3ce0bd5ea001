"""How closely a network must agree with PyTorch, for each precision, and why.

The signal-to-difference ratio is that of the output, after masking and synthesis; the loudness is
that of the output by BS.1770. The worst of all sounds decides.
"""

from __future__ import annotations

from dataclasses import dataclass

from semmix.specs import ModelSpec, Spec


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What the worst sound must keep to.

    Attributes:
        snr_db: least energy of PyTorch's output over that of the difference.
        loudness_change_lu: largest change of the output's integrated loudness, either way.
        mask_p999: what at most one gain in a thousand may be off by, as a share of the largest
            gain PyTorch gives that sound (at least of 1); None to report it only.
    """

    snr_db: float
    loudness_change_lu: float
    mask_p999: float | None


_STREAM = {
    # Sums in another order: 24 bits leave 120 dB and more, and a graph with one weight off by a
    # percent stays below 90.
    "fp32": Thresholds(90.0, 0.05, 1e-4),
    # Eleven bits are 66 dB for one rounding; some of them add up on the way. Below a sound at the
    # reference level of a dubbing stage, what is off lies under the noise floor of the room.
    "fp16": Thresholds(55.0, 0.05, 1e-2),
    # Eight bits leave 30 to 40 dB where layers that mind were kept out. The error is masked by the
    # sound that it is proportional to; gains of inaudible bins may be off by any amount. Loudness
    # gets more room, since rounding moves gains of whole bands: 0.2 LU is a fifth of what broadcast
    # rules let a programme be off (EBU R 128).
    "int8": Thresholds(30.0, 0.2, None),
    # The same eight bits, one of which is given up for kernels that must not overflow.
    "int8cpu": Thresholds(30.0, 0.2, None),
}

_WINDOW = _STREAM | {
    # Sixty layers of unbounded float32 sums, norms over a million values and LSTMs of 200 steps
    # among them: 100 dB and more is usual, but published weights decide, not we.
    "fp32": Thresholds(60.0, 0.05, 1e-3),
}

TOKENS_SNR_DB = 60.0
"""Least agreement of encoded cues, whatever the mask network's precision: the context graph stays
float32, and float32 errors of its few layers are far below."""


def thresholds(precision: str, spec: Spec) -> Thresholds:
    """What a network of a kind must keep to in a precision, one of `PRECISIONS`."""
    return (_STREAM if isinstance(spec, ModelSpec) else _WINDOW)[precision]
