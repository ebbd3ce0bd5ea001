"""Made folders in the Muddy Mix layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from semmix_rt.cues.png import png_bytes

from semmix.training.muddymix import DURATION_S

RATE_HZ = 16_000
GAINS = np.array([0.25, 2.0, 0.5])


def picture(path: Path, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 255, (4, 6, 3), dtype=np.uint8)
    path.write_bytes(png_bytes(np.ascontiguousarray(image.repeat(16, 0).repeat(16, 1))))


def make_clip(root: Path, film: str, number: int, rate_hz: int = RATE_HZ) -> Path:
    """Ten seconds of three stems, their sum and their spoiled sum, three pictures."""
    folder = root / film / "sub_video" / f"{film}_{number:03d}"
    for name in ("audio_raw", "remix_global", "separated", "frames"):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng([number, *film.encode()])
    time_s = np.arange(round(DURATION_S * rate_hz)) / rate_hz
    tones = np.sin(2 * np.pi * np.array([[300.0], [700.0], [1100.0]]) * time_s)
    stems = 0.1 * tones + 0.01 * rng.standard_normal(tones.shape)
    names = ("speech.wav", "music.wav", "effects+residual.wav")
    for name, stem in zip(names, stems, strict=True):
        soundfile.write(folder / "separated" / name, stem, rate_hz, subtype="FLOAT")
    for path, mix in (
        (folder / "audio_raw" / f"{film}.wav", stems.sum(axis=0)),
        (folder / "remix_global" / "target_mix.wav", GAINS @ stems),
    ):
        soundfile.write(path, mix, rate_hz, subtype="FLOAT")
    for second in range(1, 4):
        picture(folder / "frames" / f"{second:03d}.png", 100 * number + second)
    return folder
