"""Sounds to calibrate on, by class, from a listed set that shares nothing with the tests.

A range that no quiet scene, no shout and no full-scale tone was in would clip them later. So there
is every class: speech, music and effects as recorded, or the sound of films; the first of them
quiet and as loud as it can be; silence; and sweeps, noise and steps at full scale.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from semmix_rt.media.decoding import audio_blocks
from semmix_rt.media.probe import pick_audio_stream, probe

from semmix.assets import asset_path
from semmix.dsp.resample import ResampleStream
from semmix.errors import MediaError, UsageError

Float32 = NDArray[np.float32]

STEMS = ("speech", "music", "effects")
AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".aiff", ".aif", ".mp3", ".m4a", ".opus"})
QUIET_DB = -30.0
_LOWEST_HZ = 30.0
_SEED = 7
_MAX_LIST_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class Clip:
    """A stretch of sound.

    Attributes:
        kind: its class: `speech`, `music`, `effects`, `media`, `quiet`, `loud`, `silence`,
            `full scale`.
        sound: float32 `[C, N]` at the model's rate.
        source: name of the file it is from, empty for what was made here.
        sha256: of that file.
        start_s: where in it.
    """

    kind: str
    sound: Float32
    source: str = ""
    sha256: str = ""
    start_s: float = 0.0

    def record(self, sample_rate_hz: int) -> dict[str, object]:
        """What is kept of it in a bundle: enough to find it again, no path."""
        return {
            "class": self.kind,
            "source": self.source,
            "sha256": self.sha256,
            "start_s": round(self.start_s, 3),
            "seconds": round(self.sound.shape[1] / sample_rate_hz, 3),
        }


@dataclass(frozen=True, slots=True)
class Material:
    """Clips to choose ranges on, and others to measure on.

    Attributes:
        calibration: of every class.
        held_out: of the recorded classes; no sample of them is in `calibration`.
    """

    calibration: tuple[Clip, ...]
    held_out: tuple[Clip, ...]


def list_sources(stems: Path | None, media: Sequence[Path]) -> list[tuple[str, Path]]:
    """Class and path of every source, in a fixed order.

    Args:
        stems: folder with `speech/`, `music/` and `effects/`.
        media: films or recordings.

    Raises:
        UsageError: neither, or both.
        MediaError: a folder is missing or holds no sound.
    """
    if (stems is None) == (not media):
        raise UsageError("calibration needs sound: give either --stems DIR or --media FILE")
    if stems is None:
        return [("media", path) for path in media]
    found: list[tuple[str, Path]] = []
    for kind in STEMS:
        folder = stems / kind
        files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
        if not files:
            raise MediaError(
                f"{folder} holds no sound: a stem folder has {', '.join(f'{s}/' for s in STEMS)} "
                "with audio files"
            )
        found += [(kind, path) for path in files]
    return found


def read_test_list(path: Path) -> frozenset[str]:
    """SHA-256 of the files that quality is tested on: first word of each line, `#` for comments.

    This is what `sha256sum FILES > LIST` writes.

    Raises:
        UsageError: the list cannot be read, or a line is no hash.
    """
    try:
        if path.stat().st_size > _MAX_LIST_BYTES:
            raise UsageError(f"{path} is no list of hashes, it is too large: give another file")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(f"the list {path} cannot be read ({exc}): give a text file") from exc
    found = set()
    for number, line in enumerate(lines, 1):
        word = (line.split() or ["#"])[0].lower()
        if word.startswith("#"):
            continue
        if len(word) != 64 or set(word) - set("0123456789abcdef"):
            raise UsageError(
                f"{path}, line {number}: {word[:40]!r} is no SHA-256; write the list with "
                "`sha256sum FILES > LIST`"
            )
        found.add(word)
    return frozenset(found)


def gather(
    sources: Sequence[tuple[str, Path]],
    sample_rate_hz: int,
    *,
    clip_s: float,
    clips: int,
    tested: frozenset[str] = frozenset(),
) -> Material:
    """Cut clips from sources, and make the classes that no recording is sure to have.

    Of each class, `clips` clips are for calibration and as many are held out; they take turns
    over the class's files and, within a file, over its time.

    Args:
        sources: from `list_sources`.
        sample_rate_hz: the model's rate.
        clip_s: length of a clip.
        clips: of each class.
        tested: hashes of files that must not be among the sources; those that `semmix-rt verify`
            brings along never may.

    Raises:
        MediaError: a file cannot be decoded, or all of them are too short.
        UsageError: a source is in the list of tests.
    """
    tested |= {_sha256(asset_path(f"sounds/{name}.opus")) for name in STEMS}
    by_kind: dict[str, list[Path]] = {}
    for kind, path in sources:
        by_kind.setdefault(kind, []).append(path)
    drawn: list[Clip] = []
    held_out: list[Clip] = []
    for kind, paths in by_kind.items():
        each = -(-2 * clips // len(paths))
        cut: list[Clip] = []
        for path in paths:
            if len(cut) < 2 * clips:
                cut += _cut(kind, path, sample_rate_hz, clip_s, each, tested)
        if len(cut) < 2:
            raise MediaError(
                f"the {kind} to calibrate on is shorter than two clips of {clip_s:g} s: give more "
                "of it, or ask for shorter clips"
            )
        chosen = cut[: 2 * clips]
        drawn += chosen[0::2]
        held_out += chosen[1::2]
    return Material((*drawn, *_made(drawn[0], sample_rate_hz, clip_s)), tuple(held_out))


def made_material(sample_rate_hz: int, clip_s: float, seed: int = 7) -> Material:
    """Sounds for FP16 where no recordings are given: a gliding buzz, bursts of noise, and the rest.

    They fill the network's range from silence to full scale. INT8 must not be chosen on them: its
    ranges would be those of no real sound.
    """
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(clip_s * sample_rate_hz)) / sample_rate_hz
    phase = 2.0 * np.pi * (110.0 * time_s + 15.0 * np.sin(2.0 * np.pi * 0.7 * time_s))
    voiced = sum(np.sin(k * phase) / k for k in range(1, 20))
    buzz = 0.2 * voiced * np.sin(np.pi * 3.0 * time_s) ** 2
    clips = []
    for _ in range(2):
        bursts = rng.standard_normal(len(time_s)) * np.exp(-6.0 * (time_s % 0.7))
        sound = (buzz + 0.1 * bursts)[None].astype(np.float32)
        clips.append(Clip("made", np.clip(sound, -1.0, 1.0)))
    return Material((clips[0], *_made(clips[0], sample_rate_hz, clip_s)), (clips[1],))


def _made(model: Clip, sample_rate_hz: int, clip_s: float) -> Iterable[Clip]:
    """Clips that calibration must have whatever the sources are."""
    sound = model.sound
    peak = max(float(np.abs(sound).max()), 1e-6)
    origin = (model.source, model.sha256, model.start_s)
    yield Clip("quiet", sound * np.float32(10.0 ** (QUIET_DB / 20.0)), *origin)
    yield Clip("loud", sound / np.float32(peak), *origin)
    yield Clip("silence", np.zeros_like(sound))
    for extreme in _full_scale(round(clip_s * sample_rate_hz), sample_rate_hz):
        yield Clip("full scale", np.repeat(extreme[None], len(sound), axis=0))


def _full_scale(samples: int, rate_hz: int) -> Iterable[Float32]:
    """The largest sounds there are, `[N]`: what no recording drives a network to, a user may.

    A sweep through the whole band, so that each band is once alone and at its loudest; noise; and
    noise that steps by 60 dB with clicks between.
    """
    time_s = np.arange(samples) / rate_hz
    duration_s = samples / rate_hz
    octaves = np.log(0.48 * rate_hz / _LOWEST_HZ)
    turns = _LOWEST_HZ * duration_s / octaves * np.expm1(octaves * time_s / duration_s)
    yield np.sin(2.0 * np.pi * turns).astype(np.float32)
    noise = np.random.default_rng(_SEED).uniform(-1.0, 1.0, samples).astype(np.float32)
    yield noise
    steps = noise * np.where(np.arange(samples) // (rate_hz // 4) % 2, 1.0, 1e-3)
    steps[:: rate_hz // 5] = 1.0
    yield steps.astype(np.float32)


def _cut(
    kind: str, path: Path, rate_hz: int, clip_s: float, count: int, tested: frozenset[str]
) -> list[Clip]:
    """Up to `count` clips of a file, from evenly spaced places that do not overlap."""
    digest = _sha256(path)
    if digest in tested:
        raise UsageError(
            f"{path} is a sound that quality is tested on: ranges chosen on it would flatter the "
            "result, take it out of the calibration set"
        )
    sound = _decode(path, rate_hz)
    length = round(clip_s * rate_hz)
    fitting = min(count, sound.shape[1] // length)
    spacing = sound.shape[1] // max(fitting, 1)
    starts = [i * spacing for i in range(fitting)]
    return [Clip(kind, sound[:, s : s + length], path.name, digest, s / rate_hz) for s in starts]


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise MediaError(f"{path} cannot be read ({exc.strerror}): check the name") from exc


def _decode(path: Path, rate_hz: int) -> Float32:
    """The sound of a file `[C, N]` at a rate."""
    stream = pick_audio_stream(probe(path))
    resample = ResampleStream(stream.sample_rate_hz, rate_hz, stream.channels)
    blocks = [
        resample.push(block.astype(np.float32, copy=False))
        for _, block in audio_blocks(path, stream.index, stream.sample_rate_hz)
    ]
    return np.concatenate([*blocks, resample.finish(stream.channels)], axis=1)
