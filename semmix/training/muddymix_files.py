"""The files of one clip in the Muddy Mix layout: which there must be, and how sounds are read.

See `semmix.training.muddymix` for the layout.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from semmix.errors import MediaError

Float32 = NDArray[np.float32]
Need = Literal["cues", "pictures", "text", "vision", "nothing"]
"""What a model is told from: cues, pictures, one of `FEATURE_FILES`, or nothing at all."""

DURATION_S = 10.0
FEATURE_FILES = {
    "text": "frames_captions/InternVL2-8B_prompt1_feats.pt",
    "vision": "frames_feats/visual_feats.pt",
}
"""Context vectors by the kind of model that takes them."""
STEM_FILES: tuple[tuple[tuple[str, ...], ...], ...] = (
    (("speech.wav",),),
    (("music.wav",),),
    (("effects+residual.wav",), ("effects.wav", "residual.wav"), ("effects.wav",)),
)
"""Each stem's files, which are added up, the first that are all there; the residual belongs to the
effects, so that the stems sum to the mix."""

MAX_RATE_HZ = 192_000
MAX_CHANNELS = 8
_MIN_RATE_HZ = 4_000
_AFTER_S = 0.25
"""Read beyond the end, for the resampler's filter to hear what follows."""
_SUM_DB = -20.0
"""Most power of the difference between a mix and its stems' sum. Formats and resamplers make -60;
spoiling moves the loudest stem by 6 dB or more, which makes more than -10."""


def raw_sound(folder: Path) -> Path | None:
    """The right mix: the file with the clip's name, else the only one; None where none is that."""
    found = _raw_sounds(folder)
    named = [path for path in found if path.stem == folder.name]
    return next(iter(named or found)) if named or len(found) == 1 else None


def muddy_sound(folder: Path) -> Path:
    """The muddy mix, whatever its name says."""
    return folder / "remix_global" / "target_mix.wav"


def sheet_of(folder: Path) -> Path:
    """The cue sheet that a clip may have."""
    return folder / "cues.json"


def frames_of(folder: Path) -> list[Path]:
    """The pictures in order of time."""
    return sorted((folder / "frames").glob("*.png"))


def lacking(folder: Path, need: Need) -> list[str]:
    """What a clip's folder lacks, in the words of the layout."""
    missing = []
    if raw_sound(folder) is None:
        count = len(_raw_sounds(folder))
        missing.append(
            f"audio_raw/{folder.name}.wav, which tells its {count} sounds apart"
            if count
            else "audio_raw/*.wav"
        )
    if not muddy_sound(folder).is_file():
        missing.append("remix_global/target_mix.wav")
    if need in FEATURE_FILES and not (folder / FEATURE_FILES[need]).is_file():
        missing.append(FEATURE_FILES[need])
    without_sheet = need == "cues" and not sheet_of(folder).is_file()
    if (without_sheet or need == "pictures") and not frames_of(folder):
        missing.append("frames/*.png")
    if (folder / "separated").is_dir():
        missing += [f"separated/{ways[0][0]}" for ways in STEM_FILES if not _stem(folder, ways)]
    return missing


def files_of(folder: Path, need: Need) -> Iterator[Path]:
    """All files that an evaluation of a whole clip reads."""
    raw = raw_sound(folder)
    sounds = [muddy_sound(folder), *([] if raw is None else [raw])]
    stems = [path for ways in STEM_FILES for path in _stem(folder, ways)]
    told = [folder / FEATURE_FILES[need]] if need in FEATURE_FILES else [sheet_of(folder)]
    yield from (p for p in (*sounds, *stems, *told, *frames_of(folder)) if p.is_file())


def read_sounds(folder: Path, rate_hz: int) -> tuple[Float32, Float32, Float32 | None]:
    """Muddy mix `[N]`, right mix `[N]` and the right mix's stems `[S, N]` of a whole clip.

    Stems are None where nobody separated them.

    Raises:
        MediaError: a file cannot be decoded, or the stems are not those of the right mix.
    """
    raw = raw_sound(folder)
    assert raw is not None
    mix, target = (_read(path, rate_hz) for path in (muddy_sound(folder), raw))
    if not (folder / "separated").is_dir():
        return mix, target, None
    stems = np.stack(
        [sum_of([_read(path, rate_hz) for path in _stem(folder, ways)]) for ways in STEM_FILES]
    )
    _check_sum(folder, mix, target, sum_of(stems))
    return mix, target, stems


def sum_of(sounds: Sequence[Float32] | Float32) -> Float32:
    """Sounds `[N]` added up."""
    return np.asarray(np.sum(sounds, axis=0), np.float32)


def _check_sum(folder: Path, mix: Float32, target: Float32, total: Float32) -> None:
    """Refuse mixes that were exchanged: every number would say the opposite."""
    if _is_sum(target, total):
        return
    if _is_sum(mix, total):
        raise MediaError(
            f"{folder}: the separated stems add up to remix_global/target_mix.wav, not to the "
            "sound in audio_raw: the right mix and the muddy one were exchanged, put each in the "
            "other's place"
        )
    raise MediaError(
        f"{folder}: the separated stems add up to neither mix: add what is left of the right one "
        "as separated/residual.wav, or take the folder `separated` away"
    )


def _is_sum(mix: Float32, total: Float32) -> bool:
    off, power = (np.square(x, dtype=np.float64).sum() for x in (mix - total, mix))
    return bool(off <= 10.0 ** (_SUM_DB / 10.0) * power)


def _raw_sounds(folder: Path) -> list[Path]:
    return sorted((folder / "audio_raw").glob("*.wav"))


def _stem(folder: Path, ways: Sequence[Sequence[str]]) -> list[Path]:
    """The files that add up to a stem, none where it lacks one."""
    candidates = [[folder / "separated" / name for name in names] for names in ways]
    return next((paths for paths in candidates if all(p.is_file() for p in paths)), [])


def _read(path: Path, rate_hz: int) -> Float32:
    """The first ten seconds as mono `[N]`, shorter files followed by silence.

    What follows is not even decoded: a small file of a lossless codec may unpack to gigabytes.
    """
    try:
        with soundfile.SoundFile(str(path)) as file:
            fits = _MIN_RATE_HZ <= file.samplerate <= MAX_RATE_HZ
            if not fits or file.channels > MAX_CHANNELS:
                raise MediaError(
                    f"{path} has {file.channels} channels at {file.samplerate} Hz: at most "
                    f"{MAX_CHANNELS} at {_MIN_RATE_HZ} to {MAX_RATE_HZ} Hz are read, convert it"
                )
            from_hz = file.samplerate
            data = file.read(
                round((DURATION_S + _AFTER_S) * from_hz), dtype="float32", always_2d=True
            )
    except (soundfile.LibsndfileError, OSError) as exc:
        raise MediaError(f"{path}: cannot be decoded ({exc}); repair or remove it") from exc
    if not np.isfinite(data).all():
        raise MediaError(f"{path} holds NaN or infinity: repair it")
    mono = data.mean(axis=1)
    if from_hz != rate_hz:
        mono = soxr.resample(mono, from_hz, rate_hz, quality="VHQ")
    out = np.zeros(round(DURATION_S * rate_hz), np.float32)
    kept = min(out.size, mono.size)
    out[:kept] = mono[:kept]
    return out
