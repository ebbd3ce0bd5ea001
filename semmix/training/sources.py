"""Stem tracks for a clip: utterances with pauses, a piece of music, ambience and one-shots."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semmix.training.stems import StemFile, StemLibrary
from semmix.training.variation import Variation

_FADE_S = 0.01
_SPARE = 1.5
"""Of a long recording so many times the needed length is taken: it may be played faster."""


def _pick(files: tuple[StemFile, ...], rng: np.random.Generator) -> StemFile:
    return files[int(rng.integers(len(files)))]


def _take(
    library: StemLibrary,
    files: tuple[StemFile, ...],
    stem: str,
    samples: int,
    rng: np.random.Generator,
    variation: Variation | None,
) -> NDArray[np.int16]:
    """A recording, varied in training; of a long one a random part."""
    audio = library.read(_pick(files, rng))
    if variation is not None:
        audio = variation.speed(_crop(audio, round(_SPARE * samples), rng), stem)
    return audio


def _place(
    track: NDArray[np.float32], audio: NDArray[np.int16], start: int, gain: float, fade: int
) -> int:
    """Add a recording at a position, with short fades; return where it ends."""
    piece = audio[: max(0, len(track) - start)].astype(np.float32) * (gain / 32768.0)
    fade = min(fade, len(piece) // 2)
    if fade:
        ramp = np.linspace(0.0, 1.0, fade, dtype=np.float32)
        piece[:fade] *= ramp
        piece[-fade:] *= ramp[::-1]
    track[start : start + len(piece)] += piece
    return start + len(piece)


def _crop(audio: NDArray[np.int16], samples: int, rng: np.random.Generator) -> NDArray[np.int16]:
    spare = len(audio) - samples
    start = int(rng.integers(spare + 1)) if spare > 0 else 0
    return audio[start : start + samples]


def _level(audio: NDArray[np.int16]) -> float:
    """Gain that brings a recording to a common RMS, so that no source drowns its neighbours."""
    rms = float(np.sqrt(np.mean(np.square(audio.astype(np.float32) / 32768.0)) + 1e-12))
    return 0.1 / max(rms, 1e-3)


def draw_speech(
    library: StemLibrary,
    samples: int,
    rng: np.random.Generator,
    variation: Variation | None = None,
) -> NDArray[np.float32]:
    """One voice, sometimes two, with pauses, `[samples]`."""
    rate = library.sample_rate_hz
    fade = round(_FADE_S * rate)
    track = np.zeros(samples, np.float32)
    # The pause before the first word leaves room for words, however short the clip.
    position = min(int(rng.uniform(0.0, 1.0) * rate), samples // 2)
    while position < samples:
        audio = _take(library, library.files["speech"], "speech", samples, rng, variation)
        if position == 0:
            audio = _crop(audio, samples, rng)
        end = _place(track, audio, position, _level(audio), fade)
        if end <= position:
            break
        position = end + int(rng.exponential(0.6) * rate)
    return track


def draw_music(
    library: StemLibrary,
    samples: int,
    rng: np.random.Generator,
    variation: Variation | None = None,
) -> NDArray[np.float32]:
    """A crop of one piece, repeated where the piece is too short, `[samples]`."""
    track = np.zeros(samples, np.float32)
    audio = _take(library, library.files["music"], "music", samples, rng, variation)
    audio = _crop(audio, samples, rng)
    if not len(audio):
        return track
    gain, position = _level(audio), 0
    while position < samples:
        position = _place(track, audio, position, gain, round(_FADE_S * library.sample_rate_hz))
    return track


def draw_effects(
    library: StemLibrary,
    words: tuple[str, ...],
    samples: int,
    rng: np.random.Generator,
    variation: Variation | None = None,
) -> NDArray[np.float32]:
    """A bed of one longer sound and a sequence of shorter ones, `[samples]`.

    Args:
        library: source of sounds.
        words: what the scene shows; two sounds in three fit it.
        samples: length of the track.
        rng: source of chance.
        variation: changes the recordings, in training.
    """
    rate = library.sample_rate_hz
    fade = round(_FADE_S * rate)
    track = np.zeros(samples, np.float32)
    fitting = library.effects_like(words)
    position = min(int(rng.uniform(0.0, 0.5) * rate), samples // 2)
    density_s = float(rng.choice([0.05, 0.4, 1.2]))
    while position < samples:
        pool = fitting if rng.random() < 0.67 else library.files["effects"]
        audio = _crop(_take(library, pool, "effects", samples, rng, variation), samples, rng)
        gain = _level(audio) * float(10.0 ** (rng.normal(0.0, 3.0) / 20.0))
        end = _place(track, audio, position, gain, fade)
        # Long sounds are beds: the next one enters over them.
        overlap = 0.6 * (end - position) if end - position > 3 * rate else 0.0
        position = end - int(overlap) + int(rng.exponential(density_s) * rate) + 1
    return track
