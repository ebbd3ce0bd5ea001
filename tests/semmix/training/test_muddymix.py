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
from semmix_rt.cues.png import png_bytes
from support_remix import make_bundle

from semmix.cues.sheet import save_sheet
from semmix.cues.types import CUE_TYPES, Cue, CueSegment, CueSheet, CueType
from semmix.errors import MediaError
from semmix.metrics import PUBLISHED_SCALE, mag
from semmix.training.evaluate import evaluate
from semmix.training.measures import Yardstick
from semmix.training.muddymix import DURATION_S, MuddyMix, describe_still, shots_of_frames

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
    with pytest.raises(MediaError, match=rf"alpha_002 lacks {clue} \(1 of 2 clips"):
        MuddyMix(tmp_path, RATE_HZ, by_name)


def test_what_is_no_such_folder_or_no_sound_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no clips were found"):
        MuddyMix(tmp_path, RATE_HZ)
    folder = make_clip(tmp_path, "alpha", 1)
    (folder / "audio_raw" / "alpha.wav").write_bytes(b"RIFF but not really")
    with pytest.raises(MediaError, match="cannot be decoded"):
        MuddyMix(tmp_path, RATE_HZ, by_name).clip(0)


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
