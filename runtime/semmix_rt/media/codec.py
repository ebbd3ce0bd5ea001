"""Which codec the processed sound gets: what the source had, where the container allows it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from av.audio.stream import AudioStream
from av.codec import Codec
from av.container import OutputContainer
from av.error import FFmpegError

from semmix.errors import MediaError
from semmix_rt.media.containers import Container, open_trial
from semmix_rt.media.probe import AudioStreamInfo, MediaInfo

_ENCODER_OF = {"mp3": "libmp3lame", "opus": "libopus", "mp2": "mp2"}
_SAME_NAME = frozenset({"aac", "ac3", "eac3", "flac", "alac", "wavpack", "wmav1", "wmav2"})
_LOSSLESS = frozenset({"flac", "alac", "wavpack"})
_OPUS_RATES = (48000, 24000, 16000, 12000, 8000)
_LAYOUT_OF_COUNT = {
    1: "mono",
    2: "stereo",
    3: "3.0",
    4: "4.0",
    5: "5.0",
    6: "5.1",
    7: "6.1",
    8: "7.1",
}
_AC3_KBPS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
_MPEG1_KBPS = (64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG2_KBPS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_FAST_AAC_BPS_PER_CHANNEL = 64_000


@dataclass(frozen=True, slots=True)
class AudioPlan:
    """How the processed stream is encoded.

    Attributes:
        codec: FFmpeg's encoder name.
        bit_rate_bps: `None` for lossless codecs.
        sample_rate_hz: rate of the encoded stream; differs from the source's for Opus only,
            which stores 48 kHz and little else.
        layout: channel layout.
        sample_format: what the encoder takes.
        bits: significant bits of integer samples, 0 for float.
        options: encoder options.
        warnings: sentences for the user.
    """

    codec: str
    bit_rate_bps: int | None
    sample_rate_hz: int
    layout: str
    sample_format: str
    bits: int
    options: dict[str, str]
    warnings: tuple[str, ...] = ()

    @property
    def is_pcm(self) -> bool:
        """Uncompressed: no frames, no delay."""
        return self.codec.startswith("pcm_")

    @property
    def sample_bytes(self) -> int | None:
        """Bytes of one sample of plain PCM, `None` for all else."""
        kind = self.codec.removeprefix("pcm_")
        if not self.is_pcm or kind[:1] not in "suf" or not kind[1:3].strip("lbe_").isdigit():
            return None
        return int("".join(c for c in kind.split("_")[0] if c.isdigit())) // 8

    @property
    def lossless(self) -> bool:
        """Every sample comes back as it was quantised."""
        return self.is_pcm or self.codec in _LOSSLESS


def plan_audio(
    info: MediaInfo,
    source: AudioStreamInfo,
    container: Container,
    codec: str | None = None,
    bit_rate_bps: int | None = None,
) -> AudioPlan:
    """The codec that keeps most of the source in this container.

    Args:
        info: the source file.
        source: the chosen stream.
        container: of the output.
        codec: encoder asked for by name, `None` to choose.
        bit_rate_bps: for lossy codecs, `None` to choose.

    Raises:
        MediaError: no encoder, or the container cannot hold the codec.
    """
    if codec is not None:
        wanted = _ENCODER_OF.get(codec, codec)
        return _try(source, container, wanted, bit_rate_bps, asked=True)
    refusals = []
    for candidate in _candidates(info, source, container):
        try:
            plan = _try(source, container, candidate, bit_rate_bps, asked=False)
        except MediaError as exc:
            refusals.append(str(exc))
            continue
        return _explained(plan, source, container)
    raise MediaError(
        refusals[0]
        if refusals
        else f"a {container.suffix} file cannot hold {source.codec} sound: write .mov or .mkv"
    )


def add_audio(out: OutputContainer, plan: AudioPlan) -> AudioStream:
    """Add the processed stream to a muxer that has not written its header yet."""
    extra: dict[str, Any] = {} if plan.bit_rate_bps is None else {"bit_rate": plan.bit_rate_bps}
    stream = out.add_stream(
        plan.codec,
        rate=plan.sample_rate_hz,
        options=dict(plan.options),
        layout=plan.layout,
        format=plan.sample_format,
        **extra,
    )
    assert isinstance(stream, AudioStream)
    stream.codec_context.thread_count = 1
    stream.codec_context.time_base = Fraction(1, plan.sample_rate_hz)
    return stream


def default_bit_rate(codec: str, source: AudioStreamInfo, sample_rate_hz: int) -> int | None:
    """A lossy codec's bit rate: the source's, and no less than what sounds transparent.

    AAC and MP3 get at least 96 kb/s for each channel (192 kb/s stereo), less where the sample
    rate carries less; the source's own rate counts only if it was lossy itself.
    """
    if codec.startswith("pcm_") or codec in _LOSSLESS:
        return None
    had = source.bit_rate_bps or 0 if source.bits == 0 else 0
    channels = source.channels
    full = channels - 1 if "LFE" in source.layout or source.layout.endswith(".1") else channels
    if codec == "libopus":
        return min(max(had, 64_000 * full), 256_000 * channels, 510_000)
    floor = min(96_000, 4 * sample_rate_hz) * full
    if codec == "aac":
        # 6144 bits for each channel and frame of 1024 samples is the format's own limit.
        return min(max(had, min(floor, 512_000)), 6 * sample_rate_hz * channels)
    if codec in ("ac3", "eac3"):
        kbps = max(had, floor) // 1000
        return next((k for k in _AC3_KBPS if k >= kbps), 640) * 1000
    if codec in ("libmp3lame", "mp2"):
        steps = _MPEG1_KBPS if sample_rate_hz >= 32_000 else _MPEG2_KBPS
        top = 64 if sample_rate_hz < 16_000 else steps[-1]
        kbps = min(max(had, floor) // 1000, top)
        return next(k for k in steps if k >= kbps) * 1000
    return min(max(had, floor), 192_000)


def _candidates(info: MediaInfo, source: AudioStreamInfo, container: Container) -> list[str]:
    """Encoders to try, the most faithful first."""
    name = container.name
    same = _same(source)
    keep = [same] if same else []
    pcm = [_pcm(source, "be" if name in ("aiff", "au") else "le")]
    if name in ("wav", "w64", "aiff", "au", "caf"):
        swapped = ("le",) if name in ("aiff", "au") else ()
        keep = [c for c in keep if c.startswith("pcm_") and not c.endswith(swapped)]
        return keep + pcm
    if container.suffix in (".m4a", ".m4b", ".m4v"):
        return [c for c in keep if c in ("aac", "alac")] + ["aac"]
    if name in ("webm", "opus"):
        return ["libopus"]
    if source.bits and container.is_mp4 and name != "mov":
        # The muxer would take PCM, but hardly any player does: keep it only where it was.
        if same and same.startswith("pcm_") and info.path.suffix.lower() in (".mov", ".qt"):
            keep = []
        return [*keep, "aac"] if "mp4" in info.container else [*_compressed(keep), "aac"]
    if source.bits:
        return [*keep, *pcm, "flac", "alac", "libopus", "aac", "libmp3lame"]
    general = {"avi": ["libmp3lame", "ac3"], "asf": ["wmav2"], "flac": ["flac"]}
    if name in ("avi", "asf"):  # raw AAC there is read by few players
        keep = [c for c in keep if c != "aac"]
    return [*keep, *general.get(name, ["aac"]), "libopus", "libmp3lame", "flac", *pcm, "ac3"]


def _compressed(codecs: list[str]) -> list[str]:
    return [c for c in codecs if not c.startswith("pcm_")]


def _same(source: AudioStreamInfo) -> str | None:
    if source.codec in _ENCODER_OF:
        return _ENCODER_OF[source.codec]
    if source.codec in _SAME_NAME or source.codec.startswith("pcm_"):
        return source.codec
    return None


def _pcm(source: AudioStreamInfo, endian: str) -> str:
    """PCM that holds the source; decoded lossy sound has more than 16 bits to keep."""
    if source.bits == 0:
        return f"pcm_s24{endian}"
    if source.sample_format.startswith("dbl"):
        return f"pcm_f64{endian}"
    if source.sample_format.startswith("flt"):
        return f"pcm_f32{endian}"
    bits = 16 if source.bits <= 16 else 24 if source.bits <= 24 else 32
    return f"pcm_s{bits}{endian}"


def _try(
    source: AudioStreamInfo,
    container: Container,
    codec: str,
    bit_rate_bps: int | None,
    *,
    asked: bool,
) -> AudioPlan:
    try:
        encoder = Codec(codec, "w")
    except ValueError as exc:
        raise MediaError(
            f"there is no audio encoder {codec!r}: use aac, flac, alac, libopus, libmp3lame, "
            "ac3 or pcm_s16le"
        ) from exc
    if encoder.type != "audio":
        raise MediaError(f"{codec!r} is no audio encoder: use aac, flac, libopus or pcm_s16le")
    rate = source.sample_rate_hz
    if codec == "libopus" and rate not in _OPUS_RATES:
        rate = 48000
    sample_format, bits = _sample_format(encoder, source, codec)
    bps = bit_rate_bps if bit_rate_bps is not None else default_bit_rate(codec, source, rate)
    if codec.startswith("pcm_") or codec in _LOSSLESS:
        bps = None
    options: dict[str, str] = {}
    if codec == "aac" and bps is not None and bps >= _FAST_AAC_BPS_PER_CHANNEL * source.channels:
        # FFmpeg's manual: "better and much faster at higher bitrates" than two-loop.
        options["aac_coder"] = "fast"
    if codec == "libmp3lame" and not container.hides_priming:
        # The first frame is left out there, so no later frame may borrow from it.
        options["reservoir"] = "0"
    reason = ""
    fallback = _LAYOUT_OF_COUNT.get(source.channels)
    for layout in dict.fromkeys(x for x in (source.layout, fallback) if x):
        plan = AudioPlan(codec, bps, rate, layout, sample_format, bits, options)
        out = open_trial(container)
        try:
            add_audio(out, plan)
            out.start_encoding()
        except (FFmpegError, ValueError, av.error.LookupError) as exc:
            reason = reason or str(getattr(exc, "strerror", None) or exc)
            continue
        return plan
    better = "use .mov, .mkv or .wav" if codec.startswith("pcm_") else "use .mkv"
    raise MediaError(
        f"a {container.suffix} file cannot hold {codec} sound of {source.channels} channels at "
        f"{rate} Hz ({reason}): {better}{', or leave the codec to be chosen' if asked else ''}"
    )


def _sample_format(encoder: Codec, source: AudioStreamInfo, codec: str) -> tuple[str, int]:
    """The encoder's sample format that fits the source, and its significant bits."""
    formats = [f.name for f in encoder.audio_formats or []]
    if not formats:
        return "fltp", 0
    if codec.startswith("pcm_"):
        kind = formats[0].removesuffix("p")
        if kind in ("flt", "dbl"):
            return formats[0], 0
        digits = int("".join(c for c in codec.split("_")[1] if c.isdigit()) or 16)
        return formats[0], min(digits, {"u8": 8, "s16": 16, "s32": 32, "s64": 53}[kind])
    by_kind = {f.removesuffix("p"): f for f in reversed(formats)}
    if codec not in _LOSSLESS:
        for kind, bits in (("flt", 0), ("dbl", 0), ("s32", 32), ("s16", 16)):
            if kind in by_kind:
                return by_kind[kind], bits
    if "flt" in by_kind and source.sample_format.startswith(("flt", "dbl")) and source.bits:
        return by_kind["flt"], 0
    if 0 < source.bits <= 16 and "s16" in by_kind:
        return by_kind["s16"], 16
    if "s32" in by_kind:
        return by_kind["s32"], 32 if codec == "wavpack" and source.bits > 24 else 24
    return by_kind["s16"], 16


def _explained(plan: AudioPlan, source: AudioStreamInfo, container: Container) -> AudioPlan:
    """`plan` with a sentence where something of the source could not be kept."""
    notes = []
    if source.bits and not plan.lossless:
        notes.append(
            f"the sound was lossless ({source.codec}) and is {plan.codec} in the "
            f"{container.suffix} file: write .mov or .mkv to keep it lossless"
        )
    if plan.sample_rate_hz != source.sample_rate_hz:
        notes.append(
            f"Opus stores {plan.sample_rate_hz} Hz, so the {source.sample_rate_hz} Hz sound was "
            "resampled: write .mkv to keep its rate"
        )
    return AudioPlan(
        plan.codec,
        plan.bit_rate_bps,
        plan.sample_rate_hz,
        plan.layout,
        plan.sample_format,
        plan.bits,
        plan.options,
        tuple(notes),
    )
