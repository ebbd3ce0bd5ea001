"""`tools/gather_stems.py` on packages made here: what is taken, left, and written down."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

SCRIPT = Path(__file__).resolve().parent.parent / "tools" / "gather_stems.py"
GAMES = "usr/share/games"
FILES = {
    "0ad-data": (),
    "singularity-music": (f"{GAMES}/singularity/music/Theme.ogg", "usr/share/doc/readme.txt"),
    "marsshooter-data": (f"{GAMES}/marsshooter/audio/music/a.ogg", f"{GAMES}/audio/toon/b.ogg"),
    "megaglest-data": (
        f"{GAMES}/megaglest/techs/megapack/factions/magic/music/magic.ogg",
        f"{GAMES}/megaglest/tilesets/desert/sounds/wind.ogg",
        f"{GAMES}/megaglest/techs/megapack/factions/magic/units/golem/sounds/yes.wav",
    ),
    "lugaru-data": tuple(f"{GAMES}/lugaru/Sounds/{n}.ogg" for n in ("Music1", "Thud", "Alarm")),
    "hyperrogue-music": (
        "usr/share/hyperrogue/music/hr3-caves.ogg",
        "usr/share/hyperrogue/sounds/storm.ogg",
        "usr/share/hyperrogue/sounds/speak-prince.ogg",
    ),
    "endless-sky-data": (f"{GAMES}/endless-sky/sounds/ambient/hum.wav",),
    "fretsonfire-songs-sectoid": tuple(
        f"usr/share/{folder}/song.ogg" for folder in ("songs/one", "songs/two", "tunes/two")
    ),
}
"""What is in each package, nothing in the others; some keep their sounds in archives."""
ARCHIVED = {
    "0ad-data": ("public.zip", ("audio/music/Sunrise.ogg", "audio/ambient/weather/rain.ogg")),
    "ufoai-music": ("base/0music.pk3", ("music/Crystan-Credits.ogg", "music/PsymongN1.ogg")),
}
PROMPTS = "asterisk-core-sounds-en-g722"
G722_BYTES_A_SECOND = 8_000

pytestmark = pytest.mark.skipif(
    shutil.which("dpkg-deb") is None, reason="dpkg-deb, of Debian, is not installed"
)


def sound(path: Path, seconds: float = 0.5) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = 0.1 * np.random.default_rng(1).standard_normal(round(8_000 * seconds))
    soundfile.write(path, noise.astype(np.float32), 8_000)


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    folder = tmp_path / "packages"
    folder.mkdir()
    listed = subprocess.run([sys.executable, SCRIPT, "--list"], capture_output=True, text=True)
    assert {*FILES, *ARCHIVED, PROMPTS} <= set(listed.stdout.split())
    for name in listed.stdout.split():
        root = tmp_path / name
        (root / "DEBIAN").mkdir(parents=True)
        (root / "DEBIAN" / "control").write_text(
            f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: A <a@b.c>\n"
            "Description: for a test\n"
        )
        for number, file in enumerate(FILES.get(name, ())):
            if file.endswith(".txt"):
                (root / file).parent.mkdir(parents=True)
                (root / file).write_text("no sound")
            else:
                sound(root / file, seconds=0.5 + 0.1 * number)
        if name in ARCHIVED:
            where, files = ARCHIVED[name]
            (root / where).parent.mkdir(parents=True, exist_ok=True)
            with zipfile.ZipFile(root / where, "w") as archive:
                for inside in (*files, "audio/music/blip.ogg", "art/x.ogg"):
                    sound(tmp_path / inside, seconds=0.01 if "blip" in inside else 0.5)
                    archive.write(tmp_path / inside, inside)
        if name == PROMPTS:
            for prompt, seconds in (("welcome", 5), ("yes", 1), ("silence", 0)):
                noise = np.random.default_rng(1).bytes(seconds * G722_BYTES_A_SECOND)
                (root / f"{prompt}.g722").write_bytes(noise)
        subprocess.run(
            ["dpkg-deb", "--build", root, folder / f"{name}_1_all.deb"],
            check=True,
            capture_output=True,
        )
    return folder


def gather(packages: Path, out: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, SCRIPT, "--packages", packages, "--out", out]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_what_is_free_is_gathered_with_its_origin(packages, tmp_path: Path) -> None:
    out = tmp_path / "stems"
    done = gather(packages, out)
    assert done.returncode == 0, done.stderr
    with (out / "catalog.csv").open(newline="") as handle:
        rows = {row["path"]: row for row in csv.DictReader(handle)}
    assert set(rows) == {
        "music/0ad-data/Sunrise.ogg",
        "effects/0ad-data/rain.ogg",
        "music/singularity-music/Theme.ogg",
        "music/marsshooter-data/a.ogg",
        "music/megaglest-data/magic.ogg",
        "effects/megaglest-data/wind.ogg",
        "music/lugaru-data/Music1.ogg",
        "effects/lugaru-data/Thud.ogg",
        "music/hyperrogue-music/hr3-caves.ogg",
        "effects/hyperrogue-music/storm.ogg",
        "effects/endless-sky-data/hum.wav",
        "music/fretsonfire-songs-sectoid/song.ogg",
        "music/fretsonfire-songs-sectoid/two-song.ogg",
        "music/fretsonfire-songs-sectoid/tunes-two-song.ogg",
        "music/ufoai-music/Crystan-Credits.ogg",
        f"speech/{PROMPTS}/welcome.flac",
    }
    assert {str(p.relative_to(out)) for p in out.rglob("*.*")} == {*rows, "catalog.csv"}
    rain = rows["effects/0ad-data/rain.ogg"]
    assert (rain["category"], rain["licence"], rain["seconds"]) == (
        "weather",
        "CC-BY-SA-3.0",
        "0.50",
    )
    copied = out / "music/singularity-music/Theme.ogg"
    original = tmp_path / "singularity-music" / GAMES / "singularity/music/Theme.ogg"
    assert copied.read_bytes() == original.read_bytes()
    prompt = soundfile.info(out / f"speech/{PROMPTS}/welcome.flac")
    assert (prompt.samplerate, prompt.duration) == (16_000, 5.0)
    assert f"{PROMPTS}: silence.g722 is left out: it is empty" in done.stderr


def test_nothing_is_gathered_over_a_folder_or_without_a_package(packages, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    assert "exists; remove it or name another" in gather(packages, tmp_path / "taken").stderr
    (packages / "lugaru-data_1_all.deb").unlink()
    refused = gather(packages, tmp_path / "out")
    assert refused.returncode != 0
    assert "no package lugaru-data" in refused.stderr
    assert not (tmp_path / "out").exists()
