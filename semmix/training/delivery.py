"""How a mix reaches the network: clipped, at another sample rate, through a lossy codec.

Films seldom come as their mix left the studio. What is done here is done to the mix alone: the
stems stay what they were, so that the right balance is still known.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import av
import numpy as np
import soxr
from numpy.typing import NDArray

from semmix.errors import EngineError

Float32 = NDArray[np.float32]

CLIP_SHARE = 0.15
CLIP_DB = (1.0, 8.0)
"""How far below its peak a clipped mix is cut off."""
RATE_SHARE = 0.15
RATES_HZ: tuple[int, ...] = (16_000, 22_050, 32_000, 44_100)
"""Sample rates that a mix may have had on its way."""
CODEC_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Codec:
    """A lossy coding that films and clips come in.

    Attributes:
        encoder: FFmpeg's name of it.
        container: format that carries it.
        bit_rates: of one channel, in bits a second: from poor to good.
        sample_rate_hz: rate it is fed.
        delay_samples: what decoding puts before the sound, where the container does not tell.
    """

    encoder: str
    container: str
    bit_rates: tuple[int, ...]
    sample_rate_hz: int = 48_000
    delay_samples: int = 0


CODECS: tuple[Codec, ...] = (
    Codec("aac", "adts", (48_000, 64_000, 96_000), delay_samples=1024),
    Codec("libmp3lame", "mp3", (48_000, 64_000, 96_000), sample_rate_hz=44_100),
    Codec("libopus", "ogg", (32_000, 48_000, 80_000)),
    Codec("ac3", "ac3", (64_000, 96_000), delay_samples=256),
)


def deliver(mix: Float32, sample_rate_hz: int, rng: np.random.Generator) -> Float32:
    """A mix `[N]` as it might arrive, of the same length, level and place in time.

    Args:
        mix: mono samples.
        sample_rate_hz: their rate.
        rng: source of chance; what it decides is drawn anew for each mix.

    Raises:
        EngineError: this build of FFmpeg lacks a codec.
    """
    clipped, resampled, coded = rng.random(3) < (CLIP_SHARE, RATE_SHARE, CODEC_SHARE)
    below_db, rate_hz = float(rng.uniform(*CLIP_DB)), int(rng.choice(RATES_HZ))
    codec = CODECS[int(rng.integers(len(CODECS)))]
    bit_rate = int(rng.choice(codec.bit_rates))
    if not np.any(mix):
        return mix
    if clipped:
        mix = clip(mix, below_db)
    if resampled and rate_hz < sample_rate_hz:
        narrow = soxr.resample(mix, sample_rate_hz, rate_hz)
        mix = _fit(soxr.resample(narrow, rate_hz, sample_rate_hz), len(mix))
    return code(mix, sample_rate_hz, codec, bit_rate) if coded else mix


def clip(mix: Float32, below_db: float) -> Float32:
    """Cut a mix `[N]` off at so many decibels below its peak."""
    limit = float(np.abs(mix).max()) * 10.0 ** (-below_db / 20.0)
    return np.clip(mix, -limit, limit)


def code(mix: Float32, sample_rate_hz: int, codec: Codec, bit_rate: int) -> Float32:
    """Encode and decode a mix `[N]`, in place and length as it was.

    Raises:
        EngineError: this build of FFmpeg lacks the codec.
    """
    rate_hz = codec.sample_rate_hz
    fed = soxr.resample(mix, sample_rate_hz, rate_hz)
    decoded = _decoded(_encoded(fed, codec, bit_rate))[codec.delay_samples :]
    return _fit(soxr.resample(decoded, rate_hz, sample_rate_hz), len(mix))


def _encoded(sound: Float32, codec: Codec, bit_rate: int) -> io.BytesIO:
    file = io.BytesIO()
    try:
        with av.open(file, "w", format=codec.container) as container:
            stream = container.add_stream(codec.encoder, rate=codec.sample_rate_hz)
            assert isinstance(stream, av.AudioStream)
            stream.bit_rate, stream.layout = bit_rate, "mono"
            frame = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = codec.sample_rate_hz, 0
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    except (av.FFmpegError, ValueError) as exc:
        raise EngineError(
            f"FFmpeg's {codec.encoder} cannot encode ({exc}), and training varies mixes by it: "
            "install the wheel of av, which has it, or train with --set deliver=false"
        ) from exc
    file.seek(0)
    return file


def _decoded(file: io.BytesIO) -> Float32:
    mono = av.AudioResampler("fltp", "mono")
    with av.open(file, "r") as container:
        parts = [
            part.to_ndarray()[0] for f in container.decode(audio=0) for part in mono.resample(f)
        ]
    return np.concatenate(parts)


def _fit(sound: Float32, samples: int) -> Float32:
    """Cut or fill up with silence to a length: codecs and resamplers round it."""
    return np.pad(sound[:samples], (0, max(0, samples - len(sound))))
