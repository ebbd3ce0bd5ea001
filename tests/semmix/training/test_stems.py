from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import tolerances
from support_training import RATE_HZ, write_stems

from semmix.errors import MediaError
from semmix.training.policy import STEMS
from semmix.training.stems import StemFile, StemLibrary


def touch(root: Path, *names: str) -> Path:
    """Audio of a few samples under these names."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.zeros(10), RATE_HZ)
    return root


def labels(root: Path) -> dict[str, str]:
    library = StemLibrary(root, RATE_HZ)
    return {
        str(file.path.relative_to(root)): file.label
        for files in library.files.values()
        for file in files
    }


PLAIN = ("speech/a.wav", "music/b.flac", "effects/Big_Dog-bark.ogg")


def test_every_audio_file_is_found_and_nothing_else(tmp_path: Path) -> None:
    root = touch(tmp_path, *PLAIN, "music/deep/er/c.WAV", "effects/x.aiff")
    (root / "music" / "notes.txt").write_text("no sound")
    library = StemLibrary(root, RATE_HZ)
    assert list(library.files) == list(STEMS)
    found = {f.path.relative_to(root).as_posix() for files in library.files.values() for f in files}
    assert found == {*PLAIN, "music/deep/er/c.WAV", "effects/x.aiff"}


def test_without_a_catalogue_the_file_names_are_the_labels(tmp_path: Path) -> None:
    assert labels(touch(tmp_path, *PLAIN))["effects/Big_Dog-bark.ogg"] == "big dog bark"


@pytest.mark.parametrize("inside", [True, False])
def test_the_catalogue_gives_the_labels(tmp_path: Path, inside: bool) -> None:
    root = touch(tmp_path / "train", *PLAIN, "effects/unlisted_thing.wav")
    prefix, place = ("", root) if inside else ("train/", tmp_path)
    place.joinpath("catalog.csv").write_text(
        "path,split,category,original_name\n"
        f"{prefix}effects/Big_Dog-bark.ogg,train,Animal/Dog,Rex_01.ogg\n"
        f"{prefix}speech/a.wav,train,Voice\n"
        ",train,Nothing,none.wav\n",
        encoding="utf-8",
    )
    found = labels(root)
    assert found["effects/Big_Dog-bark.ogg"] == "animal/dog rex 01"
    assert found["speech/a.wav"].strip() == "voice"
    assert found["effects/unlisted_thing.wav"] == "unlisted thing"


def test_files_of_one_name_keep_their_own_labels(tmp_path: Path) -> None:
    root = touch(tmp_path, "speech/1.wav", "music/1.wav", "effects/1.wav")
    rows = "speech/1.wav,voice\nmusic/1.wav,score\neffects/1.wav,gun\n"
    (root / "catalog.csv").write_text("path,category\n" + rows)
    found = {name: label.strip() for name, label in labels(root).items()}
    assert found == {"speech/1.wav": "voice", "music/1.wav": "score", "effects/1.wav": "gun"}


def test_a_catalogue_of_other_folders_is_read_by_file_names(tmp_path: Path) -> None:
    root = touch(tmp_path, *PLAIN)
    (root / "catalog.csv").write_text("path,category\nelsewhere/Big_Dog-bark.ogg,dog\n")
    assert labels(root)["effects/Big_Dog-bark.ogg"].strip() == "dog"


def test_a_catalogue_that_is_no_text_is_refused(tmp_path: Path) -> None:
    root = touch(tmp_path, *PLAIN)
    (root / "catalog.csv").write_bytes(b"path,category\n\xff\xfe,x\n")
    with pytest.raises(MediaError, match=r"catalog\.csv: is no CSV"):
        StemLibrary(root, RATE_HZ)


def test_effects_are_chosen_by_words_and_all_where_none_fits(stems: Path) -> None:
    library = StemLibrary(stems, RATE_HZ)
    names = [f.path.name for f in library.files["effects"]]
    assert names == ["0.wav", "1.wav", "2.wav"]
    assert [f.path.name for f in library.effects_like(("gun", "sword"))] == ["1.wav", "2.wav"]
    assert [f.path.name for f in library.effects_like(("bird",))] == ["0.wav"]
    assert library.effects_like(("submarine",)) == library.files["effects"]
    assert library.effects_like(()) == library.files["effects"]


# --- Reading ------------------------------------------------------------------------------------


def read(path: Path, rate_hz: int = RATE_HZ) -> np.ndarray:
    library = StemLibrary(touch(path.parent / "library", *PLAIN), rate_hz)
    return library.read(StemFile(path, ""))


def test_channels_are_averaged_and_16_bits_come_through(tmp_path: Path) -> None:
    left, right = np.random.default_rng(1).uniform(-0.9, 0.9, (2, 500))
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([left, right], 1), RATE_HZ, subtype="FLOAT")
    audio = read(path)
    assert audio.dtype == np.int16
    np.testing.assert_allclose(audio / 32767.0, (left + right) / 2, atol=tolerances.INT16_STEP)


def test_samples_over_full_scale_are_clipped_and_do_not_wrap(tmp_path: Path) -> None:
    path = tmp_path / "hot.wav"
    soundfile.write(path, np.array([1.5, -1.5, 0.0]), RATE_HZ, subtype="FLOAT")
    assert read(path).tolist() == [32767, -32767, 0]


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000])
def test_other_rates_are_resampled_to_the_same_sound(tmp_path: Path, rate_hz: int) -> None:
    path = tmp_path / "tone.wav"
    tone = 0.5 * np.sin(2 * np.pi * 1_000.0 * np.arange(rate_hz) / rate_hz)
    soundfile.write(path, tone, rate_hz, subtype="FLOAT")
    audio = read(path, 48_000) / 32767.0
    assert abs(len(audio) - 48_000) <= 1
    expected = 0.5 * np.sin(2 * np.pi * 1_000.0 * np.arange(48_000) / 48_000)
    inside = slice(1_000, -1_000)  # the filters of a resampler ring at the ends
    np.testing.assert_allclose(
        audio[inside], expected[: len(audio)][inside], atol=tolerances.RESAMPLED_TONE
    )


def test_a_file_is_decoded_once(tmp_path: Path) -> None:
    root = write_stems(tmp_path / "stems")
    library = StemLibrary(root, RATE_HZ)
    file = library.files["music"][0]
    first = library.read(file)
    file.path.unlink()
    assert library.read(file) is first


# --- Folders that do not serve ------------------------------------------------------------------


def test_a_missing_sub_folder_is_named_with_what_is_needed(tmp_path: Path) -> None:
    root = touch(tmp_path, "speech/a.wav", "effects/b.wav")
    with pytest.raises(MediaError, match="no folder 'music'; a stem folder holds speech/, music/"):
        StemLibrary(root, RATE_HZ)
    with pytest.raises(MediaError, match="nowhere: there is no folder 'speech'"):
        StemLibrary(tmp_path / "nowhere", RATE_HZ)


def test_a_sub_folder_without_audio_is_named(tmp_path: Path) -> None:
    root = touch(tmp_path, *PLAIN)
    (root / "music" / "b.flac").unlink()
    with pytest.raises(MediaError, match=r"music: no audio files; put \.wav"):
        StemLibrary(root, RATE_HZ)


@pytest.mark.parametrize("content", [b"", b"RIFF....WAVE no audio at all"])
def test_a_file_that_cannot_be_decoded_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.wav"
    path.write_bytes(content)
    with pytest.raises(MediaError, match=r"broken\.wav: cannot be decoded"):
        read(path)
