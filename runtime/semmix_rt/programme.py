"""The programme's loudness: how loud a film is as a whole, measured before it is remixed.

A network learns levels relative to a programme of one loudness. Films are mastered anywhere from
-9 to -31 LUFS, so the network hears every film close to the loudness it knows; the masks then act
on the film as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from semmix.specs import ModelSpec
from semmix_rt.loudness import Loudness, LoudnessMeter, layout_weights
from semmix_rt.media.decoding import audio_blocks
from semmix_rt.media.probe import AudioStreamInfo

HEARD_AS_IT_IS_LU = 3.0
"""How far from a network's programme a film is heard as it is. A spoiled mix lies below the right
one by what it lacks: a network that hears each at the same loudness is not told how much."""
_MAX_GAIN_DB = 40.0
"""Hiss is not blown up to a programme."""


def measure_programme(
    path: Path, audio: AudioStreamInfo, on_progress: Callable[[float], None]
) -> Loudness:
    """Decode a stream once and measure it.

    Args:
        path: media file.
        audio: which of its streams.
        on_progress: called with the seconds done.

    Raises:
        MediaError: the file cannot be read.
    """
    rate_hz = audio.sample_rate_hz
    meter = LoudnessMeter(rate_hz, audio.channels, layout_weights(audio.layout, audio.channels))
    done_samples = 0
    for _, block in audio_blocks(path, audio.index, rate_hz):
        meter.push(block)
        done_samples += block.shape[1]
        on_progress(done_samples / rate_hz)
    return meter.finish()


def level_gain_db(programme_lufs: float | None, spec: ModelSpec) -> float:
    """Gain that lets a network hear a programme near the loudness it was trained for.

    Nothing within `HEARD_AS_IT_IS_LU` of it; beyond, what brings the programme that near.

    Args:
        programme_lufs: integrated loudness of the programme, None where it is not known (silence,
            or a stream that is heard as it is).
        spec: of the model.
    """
    if programme_lufs is None:
        return 0.0
    away_lu = spec.programme_lufs - programme_lufs
    beyond_lu = max(0.0, abs(away_lu) - HEARD_AS_IT_IS_LU)
    return math.copysign(min(_MAX_GAIN_DB, beyond_lu), away_lu)
