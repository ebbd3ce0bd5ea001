"""The frames that cues are read from, at true presentation times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Keyframe:
    """A picture that stands for a stretch of the film.

    Attributes:
        time_s: start of the stretch, presentation time on the container's timeline.
        end_s: end of the stretch, the next keyframe's `time_s` or the end of the picture.
        shot: number of the shot it lies in, counted from 0.
        image: uint8 RGB `[H, W, 3]`, longer side at most `max_side_px`.
        motion: how much the picture changes within its shot, 0 (still) to 1.
    """

    time_s: float
    end_s: float
    shot: int
    image: NDArray[np.uint8]
    motion: float
