"""The loudest stretch of a file's sound, for whoever needs a piece of real sound."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semmix.dsp.resample import ResampleStream
from semmix.errors import MediaError
from semmix_rt.media.decoding import audio_blocks
from semmix_rt.media.probe import pick_audio_stream, probe

Float32 = NDArray[np.float32]

_HEARD_S = 600
_STEPS_PER_S = 4


def loudest_excerpt(path: Path, rate_hz: int, samples: int) -> Float32:
    """The stretch with the most energy in the first ten minutes of a file's default sound.

    Args:
        path: media file.
        rate_hz: rate to bring it to.
        samples: N, length of the stretch; a shorter sound is repeated.

    Returns:
        float32 `[1, N]`, the mean of all channels.

    Raises:
        MediaError: the file cannot be read, or holds no sound.
    """
    audio = pick_audio_stream(probe(path))
    resample = ResampleStream(audio.sample_rate_hz, rate_hz, 1)
    step = max(1, audio.sample_rate_hz // _STEPS_PER_S)
    held: deque[Float32] = deque()
    length, best, best_power = 0, np.zeros(0, np.float32), -1.0
    blocks = audio_blocks(path, audio.index, step)
    for number, (_, block) in enumerate(blocks):
        if number == _HEARD_S * _STEPS_PER_S:
            break
        held.append(resample.push(block.mean(axis=0, dtype=np.float32)[None])[0])
        length += len(held[-1])
        while length - len(held[0]) >= samples:
            length -= len(held.popleft())
        power = sum(float(np.sum(np.square(part, dtype=np.float64))) for part in held)
        # Until a stretch has its length, the longest one is the best.
        if power >= best_power or len(best) < samples:
            best, best_power = np.concatenate(held), power
    if len(best) < samples:
        best = np.concatenate((best, resample.finish(1)[0]))
    if not len(best):
        raise MediaError(f"{path} holds no sound: give a file with at least a second of it")
    return np.resize(best, (1, samples))
