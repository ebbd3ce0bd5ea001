"""What the parity gate lets a network hear: made sounds at the edges of what there is, real ones.

Every sound is long enough that a streaming network carries its state over three chunks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from semmix_rt.media.excerpt import loudest_excerpt

from semmix.assets import asset_path
from semmix.errors import UsageError
from semmix.specs import ModelSpec, Spec, WindowSpec

Float32 = NDArray[np.float32]

CLASSES = ("speech", "music", "effects")
"""Classes of real sound that come along, and that a folder of stems is searched for."""

_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a")
_CHUNKS = 3.2
# Loudness needs 400 ms, and half of a sound belongs to each of two shots.
_LEAST_S = 1.2
_QUIET = 1e-3
_BRIEF = ("silence", "clipped", "steps")


@dataclass(frozen=True, slots=True)
class Sound:
    """A sound of the gate.

    Attributes:
        name: such as `impulse`, `speech`, or the name of a user's file.
        real: recorded or spoken, not made from a formula.
        samples: float32 `[1, N]` at the model's rate, full scale 1.
    """

    name: str
    real: bool
    samples: Float32


def gate_samples(spec: Spec) -> int:
    """Length N of a gate's sound: three chunks and a bit, or one window."""
    if not isinstance(spec, ModelSpec):
        return spec.window_samples
    frames = _CHUNKS * spec.chunk.kept_frames + spec.chunk.lookahead_frames
    return max(round(_LEAST_S * spec.audio.sample_rate_hz), int(frames * spec.stft.hop_samples))


def gate_sounds(
    spec: Spec,
    *,
    brief: bool = False,
    media: Sequence[Path] = (),
    stems: Path | None = None,
) -> tuple[Sound, ...]:
    """The sounds a model is to hear.

    Args:
        spec: of the model.
        brief: a few that reach every layer, and real ones of every class, for models that take
            their time.
        media: files whose loudest stretch is heard as well.
        stems: folder with `speech`, `music` and `effects` files, instead of those that come along.

    Raises:
        UsageError: the folder holds no such file.
        MediaError: a file cannot be read, or holds no sound.
    """
    rate, samples = spec.audio.sample_rate_hz, gate_samples(spec)
    made = _made(samples, rate)
    if not isinstance(spec, ModelSpec):
        # A lone impulse in a window of unit deviation is a spike of hundreds, which no film makes.
        # Most networks bear it (118 and 133 dB), but norms over long windows may lose digits to it
        # (46 dB of 60 were seen), and a sound that is in no film should not decide.
        del made["impulse"]
    if brief:
        made = {name: made[name] for name in _BRIEF}
    files = {name: _bundled(name) for name in CLASSES} if stems is None else stem_files(stems)
    for path in media:
        files[path.name] = path
    real = [Sound(name, True, loudest_excerpt(f, rate, samples)) for name, f in files.items()]
    return (*(Sound(name, False, sound) for name, sound in made.items()), *real)


def proof_sound(spec: WindowSpec, seed: int) -> Float32:
    """A window of full-scale noise, silence, a tone with its harmonics and a click, float32 `[N]`.

    Networks of this kind answer loud and quiet, steady and sudden sound by different layers.
    """
    rng = np.random.default_rng(seed)
    parts = np.array_split(np.arange(spec.window_samples), 4)
    sound = np.zeros(spec.window_samples)
    sound[parts[0]] = rng.uniform(-1.0, 1.0, len(parts[0]))
    turn = 2.0 * np.pi * 220.0 / spec.audio.sample_rate_hz
    for k in range(1, 8):
        sound[parts[2]] += 0.3 / k * np.sin(k * turn * parts[2] + seed)
    sound[parts[3]] = 1e-3 * rng.standard_normal(len(parts[3]))
    sound[parts[3][len(parts[3]) // 2]] = 0.9
    return sound.astype(np.float32)


def _bundled(name: str) -> Path:
    return asset_path(f"sounds/{name}.opus")


def stem_files(folder: Path) -> dict[str, Path]:
    """The classes' files in a folder, by class.

    Raises:
        UsageError: it holds none.
    """
    found = {}
    for name in CLASSES:
        files = [folder / f"{name}{suffix}" for suffix in _SUFFIXES]
        if present := [file for file in files if file.is_file()]:
            found[name] = present[0]
    if not found:
        raise UsageError(
            f"{folder} holds none of {', '.join(f'{name}.wav' for name in CLASSES)}: give a folder "
            f"with at least one of them ({', '.join(_SUFFIXES)})"
        )
    return found


def _made(samples: int, rate_hz: int) -> dict[str, Float32]:
    """Made sounds by name, `[1, N]`."""
    rng = np.random.default_rng(20)
    time_s = np.arange(samples) / rate_hz
    noise = rng.standard_normal(samples)
    impulse = np.zeros(samples)
    impulse[samples // 3] = 1.0
    # A buzz like a voice's, driven 20 dB over full scale and clipped.
    buzz = sum(np.sin(2.0 * np.pi * 140.0 * k * time_s) / k for k in range(1, 20))
    clipped = np.clip(10.0 * (buzz * np.sin(np.pi * 3.0 * time_s) ** 2 + 0.1 * noise), -1.0, 1.0)
    # Sixty decibels down and up again, with silence between: what a state remembers shows here.
    level = np.repeat([0.5, 5e-4, 0.0, 0.5, 5e-4], -(-samples // 5))[:samples]
    sounds = {"silence": np.zeros(samples), "impulse": impulse}
    for hz in (50, 1_000, round(0.4 * rate_hz)):
        sounds[f"sine {hz} Hz"] = np.sin(2.0 * np.pi * hz * time_s)
    sounds |= {"clipped": clipped, "steps": level * noise / 4.0, "quiet": _QUIET * noise / 4.0}
    return {name: sound[None].astype(np.float32) for name, sound in sounds.items()}
