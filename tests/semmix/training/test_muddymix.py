"""Folders in the Muddy Mix layout: what is read from where, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tolerances
from semmix_rt.cli.root import main
from support_muddymix import GAINS, RATE_HZ, make_clip
from support_remix import make_bundle

from semmix.cues.sheet import save_sheet
from semmix.cues.types import CUE_TYPES, Cue, CueSegment, CueSheet, CueType
from semmix.errors import MediaError
from semmix.metrics import PUBLISHED_SCALE, mag
from semmix.training.evaluate import evaluate
from semmix.training.measures import Yardstick
from semmix.training.muddymix import MuddyMix, describe_still, shots_of_frames


def by_name(path: Path) -> dict[CueType, str | None]:
    """Cues that tell the picture: its film, and whether it is the clip's first second."""
    early = path.stem == "001"
    return {CueType.SCENE: path.parents[3].name, CueType.TONE: "bright" if early else None}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("muddy") / "MuddyMix"
    for film, number in (("alpha", 1), ("alpha", 2), ("beta", 7)):
        make_clip(folder, film, number)
    return folder


def test_the_muddy_mix_is_the_input_and_the_raw_sound_the_target(root: Path) -> None:
    source = MuddyMix(root, RATE_HZ, by_name)
    assert (source.name, source.count, source.duration_s) == ("MuddyMix", 3, 10.0)
    names = [source.clip(i).name for i in range(3)]
    assert names == ["alpha_001", "alpha_002", "beta_007"]
    for index, name in enumerate(names):
        clip = source.clip(index)
        folder = root / name[:-4] / "sub_video" / name
        raw, _ = soundfile.read(folder / "audio_raw" / f"{name[:-4]}.wav", dtype="float32")
        muddy, _ = soundfile.read(folder / "remix_global" / "target_mix.wav", dtype="float32")
        np.testing.assert_array_equal(clip.target, raw)
        np.testing.assert_array_equal(clip.mix, muddy)
        assert clip.target_stems is not None
        np.testing.assert_allclose(
            clip.target_stems.sum(axis=0), clip.target, atol=tolerances.MIX_FLOAT32
        )
        assert [frame.name for frame in clip.frames] == ["001.png", "002.png", "003.png"]


def test_pictures_hold_for_a_second_and_the_last_one_to_the_end(root: Path) -> None:
    shots = MuddyMix(root, RATE_HZ, by_name).clip(2).shots
    assert [(s.start_s, s.end_s) for s in shots] == [(0.0, 1.0), (1.0, 10.0)]
    assert [s.situation for s in shots] == ["beta", "beta"]
    assert [s.cues[CueType.TONE] for s in shots] == ["bright", None]


def test_more_pictures_than_seconds_are_left_out() -> None:
    cues = [{CueType.SCENE: str(second)} for second in range(14)]
    shots = shots_of_frames(cues, "film")
    assert [s.cues[CueType.SCENE] for s in shots] == [str(second) for second in range(10)]
    assert shots[-1].end_s == 10.0


def test_the_default_cues_are_those_of_the_extractor(root: Path) -> None:
    frame = root / "alpha" / "sub_video" / "alpha_001" / "frames" / "001.png"
    from semmix_rt.cues.extract import extract_sheet

    (segment,) = extract_sheet(frame, cache=False).segments
    found = describe_still(frame)
    assert set(found) == set(CUE_TYPES)
    assert found == {kind: segment.cue(kind).text for kind in CUE_TYPES}
    assert any(found.values())


def test_a_cue_sheet_beside_the_sound_comes_first(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "copy")
    folder = tmp_path / "copy" / "beta" / "sub_video" / "beta_007"
    shutil.rmtree(folder / "frames")
    cues = {CueType.SCENE: Cue("The scene is a forest.", 1.0)}
    save_sheet(CueSheet((CueSegment(0.0, 20.0, 5.0, cues),)), folder / "cues.json")
    clip = MuddyMix(tmp_path / "copy", RATE_HZ, by_name).clip(2)
    assert [(s.start_s, s.end_s) for s in clip.shots] == [(0.0, 10.0)]
    assert clip.shots[0].cues[CueType.SCENE] == "The scene is a forest."
    assert clip.frames == ()


def test_levels_are_the_gains_that_spoiled_it_and_unknown_without_stems(
    root: Path, tmp_path: Path
) -> None:
    shutil.copytree(root, tmp_path / "copy")
    folder = tmp_path / "copy" / "alpha" / "sub_video" / "alpha_001"
    shutil.rmtree(folder / "separated")
    source = MuddyMix(tmp_path / "copy", RATE_HZ, by_name)
    result = evaluate(source, lambda mix, segments: mix, seed=1, clips=3)
    expected = np.abs(20.0 * np.log10(GAINS))
    first, *others = result.clips
    assert np.isnan(first.measures["input"]["level_db"])
    for clip in others:
        found = [clip.measures["input"][f"{stem}_db"] for stem in ("speech", "music", "effects")]
        np.testing.assert_allclose(found, expected, atol=0.01)
    # Cues are lent by another film.
    assert [clip.donor for clip in result.clips] == [2, 2, 0]


def test_dib_hears_the_pictures_of_the_clip(root: Path) -> None:
    seen: list[list[str]] = []

    class Toy:
        def embed_pictures(self, paths):
            seen.append([path.name for path in paths])
            return np.array([[1.0, 0.0], [0.0, 1.0]])

        def embed_sound(self, signal, rate_hz):
            return np.array([np.sqrt(np.mean(signal**2)), 0.1])

    clip = MuddyMix(root, RATE_HZ, by_name).clip(0)
    stick = Yardstick(RATE_HZ, picture_sound=Toy())
    assert stick.distances == ("mag", "env", "wdis", "dib")
    found = stick.measure({"input": clip.mix, "same": clip.target}, clip)

    def mean_cosine(signal: np.ndarray) -> float:
        vector = np.array([np.sqrt(np.mean(signal.astype(np.float64) ** 2)), 0.1])
        return float(vector.sum() / np.linalg.norm(vector) / 2.0)

    expected = abs(mean_cosine(clip.target) - mean_cosine(clip.mix))
    assert found["input"]["dib"] == pytest.approx(PUBLISHED_SCALE * expected)
    assert expected > 0.001
    assert found["same"]["dib"] == 0.0
    assert seen == [["001.png", "002.png", "003.png"]]


def test_other_rates_channels_and_lengths_are_brought_to_ten_seconds(tmp_path: Path) -> None:
    folder = make_clip(tmp_path / "m", "alpha", 1, rate_hz=8_000)
    shutil.rmtree(folder / "separated")
    path = folder / "audio_raw" / "alpha.wav"
    rate_hz = 8_000
    mono = 0.3 * np.sin(2 * np.pi * 440.0 * np.arange(10 * rate_hz) / rate_hz)
    stereo = np.stack([1.5 * mono, 0.5 * mono], axis=1)[: 7 * rate_hz]
    soundfile.write(path, stereo, rate_hz, subtype="FLOAT")
    clip = MuddyMix(tmp_path / "m", RATE_HZ, by_name).clip(0)
    assert clip.target.shape == clip.mix.shape == (160_000,)
    assert not clip.target[7 * RATE_HZ :].any()
    inner = slice(RATE_HZ, 6 * RATE_HZ, 2)
    np.testing.assert_allclose(
        clip.target[inner], mono[rate_hz : 6 * rate_hz], atol=tolerances.RESAMPLED_TONE
    )


@pytest.mark.parametrize(
    ("lost", "clue"),
    [
        ("audio_raw/alpha.wav", r"audio_raw/\*\.wav"),
        ("remix_global/target_mix.wav", r"remix_global/target_mix\.wav"),
        ("frames", r"frames/\*\.png"),
        ("separated/effects+residual.wav", r"separated/effects\+residual\.wav"),
    ],
)
def test_a_clip_that_lacks_a_file_is_refused_by_name(tmp_path: Path, lost: str, clue: str) -> None:
    make_clip(tmp_path, "alpha", 1)
    folder = make_clip(tmp_path, "alpha", 2)
    path = folder / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(MediaError, match=rf"1 of 2 clips .* alpha_002 lacks {clue};"):
        MuddyMix(tmp_path, RATE_HZ, by_name)


def test_what_is_no_such_folder_or_no_sound_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no clips were found"):
        MuddyMix(tmp_path, RATE_HZ)
    folder = make_clip(tmp_path, "alpha", 1)
    (folder / "audio_raw" / "alpha.wav").write_bytes(b"RIFF but not really")
    with pytest.raises(MediaError, match="cannot be decoded"):
        MuddyMix(tmp_path, RATE_HZ, by_name).clip(0)


def test_every_incomplete_clip_is_counted_and_can_be_skipped(tmp_path: Path) -> None:
    for number in range(8):
        folder = make_clip(tmp_path, "alpha", number)
        if number < 7:
            (folder / "remix_global" / "target_mix.wav").unlink()
    with pytest.raises(MediaError, match="--skip-incomplete") as caught:
        MuddyMix(tmp_path, RATE_HZ, by_name)
    message = str(caught.value)
    assert "7 of 8 clips are not whole" in message
    assert message.count("lacks remix_global/target_mix.wav") == 5
    assert "and 2 more" in message
    source = MuddyMix(tmp_path, RATE_HZ, by_name, skip_incomplete=True)
    assert source.skipped == tuple(f"alpha_{number:03d}" for number in range(7))
    assert source.count == 1
    assert source.clip(0).name == "alpha_007"
    (folder / "audio_raw" / "alpha.wav").unlink()
    with pytest.raises(MediaError, match="8 of 8 clips are not whole"):
        MuddyMix(tmp_path, RATE_HZ, by_name, skip_incomplete=True)


def test_the_right_mix_is_the_file_with_the_name_of_the_clip(tmp_path: Path) -> None:
    folder = make_clip(tmp_path, "alpha", 1)
    raw = folder / "audio_raw"
    target = MuddyMix(tmp_path, RATE_HZ, by_name).clip(0).target
    shutil.copy(raw / "alpha.wav", raw / "zeta.wav")
    soundfile.write(raw / "alpha.wav", np.zeros(RATE_HZ), RATE_HZ)
    with pytest.raises(MediaError, match=r"alpha_001\.wav, which tells its 2 sounds apart"):
        MuddyMix(tmp_path, RATE_HZ, by_name)
    (raw / "zeta.wav").rename(raw / "alpha_001.wav")
    np.testing.assert_array_equal(MuddyMix(tmp_path, RATE_HZ, by_name).clip(0).target, target)


def test_mixes_that_were_exchanged_are_refused(tmp_path: Path) -> None:
    folder = make_clip(tmp_path, "alpha", 1)
    raw, muddy = folder / "audio_raw" / "alpha.wav", folder / "remix_global" / "target_mix.wav"
    content = raw.read_bytes(), muddy.read_bytes()
    raw.write_bytes(content[1])
    muddy.write_bytes(content[0])
    source = MuddyMix(tmp_path, RATE_HZ, by_name)
    with pytest.raises(MediaError, match="were exchanged"):
        source.clip(0)
    muddy.write_bytes(content[1])
    with pytest.raises(MediaError, match="add up to neither mix"):
        source.clip(0)


def test_a_mix_in_16_bits_is_still_the_sum_of_its_stems(tmp_path: Path) -> None:
    folder = make_clip(tmp_path, "alpha", 1)
    for path in (folder / "audio_raw" / "alpha.wav", *(folder / "separated").iterdir()):
        sound, _ = soundfile.read(path)
        soundfile.write(path, sound, RATE_HZ, subtype="PCM_16")
    assert MuddyMix(tmp_path, RATE_HZ, by_name).clip(0).target_stems is not None


def test_a_residual_beside_the_effects_belongs_to_them(tmp_path: Path) -> None:
    folder = make_clip(tmp_path, "alpha", 1)
    separated = folder / "separated"
    expected = MuddyMix(tmp_path, RATE_HZ, by_name).clip(0).target_stems
    effects, _ = soundfile.read(separated / "effects+residual.wav", dtype="float32")
    (separated / "effects+residual.wav").unlink()
    for name, share in (("effects.wav", 0.25), ("residual.wav", 0.75)):
        soundfile.write(separated / name, share * effects, RATE_HZ, subtype="FLOAT")
    source = MuddyMix(tmp_path, RATE_HZ, by_name)
    assert expected is not None
    found = source.clip(0).target_stems
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=tolerances.MIX_FLOAT32)
    (separated / "residual.wav").unlink()
    with pytest.raises(MediaError, match=r"separated/residual\.wav"):
        source.clip(0)


def test_no_more_of_a_sound_is_decoded_than_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_clip(tmp_path, "alpha", 1)
    shutil.rmtree(folder / "separated")
    path = folder / "audio_raw" / "alpha.wav"
    sound, _ = soundfile.read(path)
    # Lossless, and an hour long: half a megabyte that unpacks to 230 MB.
    long = np.concatenate((0.5 * sound, np.zeros(3_600 * RATE_HZ)))
    soundfile.write(path, long, RATE_HZ, format="FLAC", subtype="PCM_16")
    read: list[int] = []
    plain = soundfile.SoundFile.read

    def counted(self, frames=-1, *args, **kwargs):
        found = plain(self, frames, *args, **kwargs)
        read.append(len(found))
        return found

    monkeypatch.setattr(soundfile.SoundFile, "read", counted)
    clip = MuddyMix(tmp_path, RATE_HZ, by_name).clip(0)
    assert max(read) <= 10.5 * RATE_HZ
    np.testing.assert_allclose(clip.target, 0.5 * sound, rtol=0.0, atol=2.0**-15)


@pytest.mark.parametrize(("rate_hz", "channels"), [(200_000, 1), (2_000, 1), (16_000, 9)])
def test_sounds_of_odd_rates_and_too_many_channels_are_refused(
    tmp_path: Path, rate_hz: int, channels: int
) -> None:
    folder = make_clip(tmp_path, "alpha", 1)
    path = folder / "audio_raw" / "alpha.wav"
    soundfile.write(path, np.zeros((100, channels)), rate_hz)
    with pytest.raises(MediaError, match=f"{channels} channels at {rate_hz} Hz.* convert it"):
        MuddyMix(tmp_path, RATE_HZ, by_name).clip(0)


def test_a_folder_of_one_film_has_no_swapped_cues(tmp_path: Path) -> None:
    for number in (1, 2):
        make_clip(tmp_path, "alpha", number)
    calls: list[int] = []

    def remix(mix: np.ndarray, guide: object) -> np.ndarray:
        calls.append(1)
        return mix

    result = evaluate(MuddyMix(tmp_path, RATE_HZ, by_name), remix, seed=1, clips=2)
    assert len(calls) == 2 * 3
    assert [clip.donor for clip in result.clips] == [None, None]
    assert result.conditions == ("input", "right", "none", "swapped")
    assert np.isnan(result.mean("swapped", "mag"))
    assert result.mean("right", "mag") == result.mean("input", "mag")


def test_the_fingerprint_tells_other_clips(tmp_path: Path) -> None:
    folder = make_clip(tmp_path, "alpha", 1)
    first = MuddyMix(tmp_path, RATE_HZ, by_name).fingerprint
    (folder / "notes.txt").write_text("nothing that is read")
    assert MuddyMix(tmp_path, RATE_HZ, by_name).fingerprint == first
    sound = folder / "audio_raw" / "alpha.wav"
    soundfile.write(sound, np.zeros(100), RATE_HZ)
    changed = MuddyMix(tmp_path, RATE_HZ, by_name).fingerprint
    make_clip(tmp_path, "alpha", 2)
    assert len({first, changed, MuddyMix(tmp_path, RATE_HZ, by_name).fingerprint}) == 3


def test_the_command_evaluates_a_folder(tmp_path: Path, root: Path, capsys) -> None:
    model = make_bundle(tmp_path / "tiny").path
    path = tmp_path / "numbers.json"
    arguments = ["evaluate", "--model", str(model), "--json", str(path)]
    assert main([*arguments, "--muddymix", str(root)]) == 0
    assert "3 clips of 10 s from MuddyMix" in capsys.readouterr().out
    data = json.loads(path.read_text())
    assert [clip["name"] for clip in data["clips"]] == ["alpha_001", "alpha_002", "beta_007"]
    first = MuddyMix(root, 44_100, by_name).clip(0)
    expected = PUBLISHED_SCALE * mag(first.target, first.mix)
    # Through 48 kHz and back.
    assert data["clips"][0]["measures"]["input"]["mag"] == pytest.approx(expected, rel=0.01)
    both = [*arguments, "-y", "--muddymix", str(root), "--stems", str(root)]
    assert main(both) == 2
    assert main([*arguments, "-y"]) == 2
    assert "--stems or --muddymix" in capsys.readouterr().err
    assert main([*arguments, "-y", "--muddymix", str(root), "--clips", "4"]) == 2
    assert "ask for 1 to 3" in capsys.readouterr().err
