"""Sounds to calibrate on, by class, from a listed set that shares nothing with the tests.

A range that no quiet scene, no shout and no full-scale tone was in would clip them later. So there
is every class: speech, music and effects as recorded, or the sound of films; the first of them
quiet and as loud as it can be; silence; and sweeps, noise, steps and clicks at full scale. What a
choice is made on, and what its result is measured on, are sounds apart: recorded ones, and others
that are made to be hard.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from semmix_rt.media.decoding import audio_blocks
from semmix_rt.media.probe import pick_audio_stream, probe

from semmix.assets import asset_path
from semmix.bundle.manifest import FileRecord
from semmix.dsp.resample import ResampleStream
from semmix.errors import MediaError, UsageError
from semmix_calibration import extremes

Float32 = NDArray[np.float32]

STEMS = ("speech", "music", "effects")
AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".aiff", ".aif", ".mp3", ".m4a", ".opus"})
QUIET_DB = -30.0
_SEED = 7
_SEARCH_SEED, _HELD_OUT_SEED = 11, 13
_GOLDEN = 0.618033988749895
_MAX_LIST_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class Clip:
    """A stretch of sound.

    Attributes:
        kind: its class: `speech`, `music`, `effects`, `media`, `quiet`, `loud`, `silence`,
            `full scale`, or one of `extremes.hard`.
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
    """Clips to choose ranges on, others to choose blocks on, and others again to measure on.

    No sample of one is in another.

    Attributes:
        calibration: of every class.
        search: recorded ones and hard ones.
        held_out: likewise; chosen on by nobody, so that what is measured there is no flattery.
    """

    calibration: tuple[Clip, ...]
    search: tuple[Clip, ...]
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

    Of each class, `clips` clips are for calibration, as many for the search, and as many are held
    out; they take turns over files from all over the class's list and, within a file, over its
    time.

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
    drawn: tuple[list[Clip], ...] = ([], [], [])
    for kind, paths in by_kind.items():
        each = -(-len(drawn) * clips // len(paths))
        cut: list[Clip] = []
        for path in _spread(paths):
            if len(cut) < len(drawn) * clips:
                cut += _cut(kind, path, sample_rate_hz, clip_s, each, tested)
        if len(cut) < len(drawn):
            raise MediaError(
                f"the {kind} to calibrate on is shorter than three clips of {clip_s:g} s: give "
                "more of it, or ask for shorter clips"
            )
        for turn, part in enumerate(drawn):
            part += cut[: len(drawn) * clips][turn :: len(drawn)]
    ranges, search, held_out = drawn
    model = ranges[0]
    return Material(
        (*ranges, *_made(model, sample_rate_hz, clip_s)),
        (*search, *_hard(model, sample_rate_hz, clip_s, _SEARCH_SEED)),
        (*held_out, *_hard(model, sample_rate_hz, clip_s, _HELD_OUT_SEED)),
    )


def _spread(paths: Sequence[Path]) -> list[Path]:
    """Files so ordered that the first few are from all over the list: neighbours sound alike."""
    places = sorted(range(len(paths)), key=lambda i: i * _GOLDEN % 1.0)
    return [paths[i] for i in places]


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
    for _ in range(3):
        bursts = rng.standard_normal(len(time_s)) * np.exp(-6.0 * (time_s % 0.7))
        sound = (buzz + 0.1 * bursts)[None].astype(np.float32)
        clips.append(Clip("made", np.clip(sound, -1.0, 1.0)))
    return Material(
        (clips[0], *_made(clips[0], sample_rate_hz, clip_s)),
        (clips[1], *_hard(clips[1], sample_rate_hz, clip_s, _SEARCH_SEED)),
        (clips[2], *_hard(clips[2], sample_rate_hz, clip_s, _HELD_OUT_SEED)),
    )


def _made(model: Clip, sample_rate_hz: int, clip_s: float) -> Iterable[Clip]:
    """Clips that calibration must have whatever the sources are."""
    sound = model.sound
    peak = max(float(np.abs(sound).max()), 1e-6)
    origin = (model.source, model.sha256, model.start_s)
    yield Clip("quiet", sound * np.float32(10.0 ** (QUIET_DB / 20.0)), *origin)
    yield Clip("loud", sound / np.float32(peak), *origin)
    yield Clip("silence", np.zeros_like(sound))
    for extreme in extremes.wide(round(clip_s * sample_rate_hz), sample_rate_hz, _SEED):
        yield Clip("full scale", _like(extreme, sound))


def _hard(model: Clip, sample_rate_hz: int, clip_s: float, seed: int) -> Iterable[Clip]:
    """Made clips to measure on, another draw for each seed."""
    for kind, sound in extremes.hard(round(clip_s * sample_rate_hz), sample_rate_hz, seed):
        yield Clip(kind, _like(sound, model.sound))


def _like(sound: Float32, model: Float32) -> Float32:
    """A made sound `[N]` in all channels of a clip."""
    return np.repeat(sound[None], len(model), axis=0)


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
        return FileRecord.of(path).sha256
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
