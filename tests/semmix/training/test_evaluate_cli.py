"""`semmix-rt evaluate`, through the command line, on the seeded tiny model and made stems."""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from importlib.metadata import version
from pathlib import Path

import av
import numpy as np
import pytest
import semmix_rt
import soundfile
from scipy.stats import entropy
from semmix_rt.cli.root import main
from support_remix import make_bundle
from support_tagger import WINDOW, expected_distribution, linear_tagger

from semmix.cues.types import CueSheet
from semmix.metrics import mag

ORDER = ("speech", "music", "effects")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundles") / "tiny").path


@pytest.fixture(scope="module")
def stems(tmp_path_factory) -> Path:
    """Two seeded recordings a stem: noise of three colours that comes and goes."""
    folder = tmp_path_factory.mktemp("stems")
    rng = np.random.default_rng(5)
    time_s = np.arange(4 * 48_000) / 48_000
    for octave, stem in enumerate(ORDER):
        (folder / stem).mkdir()
        for number in range(2):
            tone = np.sin(2 * np.pi * 220.0 * 2.0**octave * time_s)
            noise = 0.3 * rng.standard_normal(time_s.size)
            swell = 0.55 + 0.45 * np.sin(2 * np.pi * (0.7 + number) * time_s)
            soundfile.write(folder / stem / f"{number}.wav", 0.2 * swell * (tone + noise), 48_000)
    return folder


def run(model: Path, stems: Path, *more: object) -> int:
    arguments = ["--stems", stems, "--model", model, "--clips", 2, "--duration-s", 2, *more]
    return main(["evaluate", *(str(a) for a in arguments)])


def test_the_table_and_the_json_say_the_same(model, stems, tmp_path, capsys):
    path = tmp_path / "numbers.json"
    assert run(model, stems, "--json", path) == 0
    shown = capsys.readouterr().out
    data = json.loads(path.read_text())
    assert f"{data['mean']['right']['mag']:.3f}" in shown
    assert "right cues against input" not in shown
    change = data["change_percent"]["right against input"]["mag"]
    assert f"right cues against spoiled mix: mag {change:+.1f} %" in shown
    assert len(data["clips"]) == 2
    assert data["seed"] == 1
    every = [clip["measures"]["right"]["mag"] for clip in data["clips"]]
    assert data["mean"]["right"]["mag"] == pytest.approx(np.mean(every), abs=1e-5)


def test_the_spoiled_mix_is_measured_against_the_right_one(model, stems, tmp_path):
    from semmix.metrics import PUBLISHED_SCALE, at_44100
    from semmix.training.scenes import SceneGenerator
    from semmix.training.stems import StemLibrary

    path = tmp_path / "numbers.json"
    assert run(model, stems, "--json", path, "-q", "--seed", 3) == 0
    generator = SceneGenerator(StemLibrary(stems, 48_000), 3, 2.0, drop_cues=False)
    for clip in json.loads(path.read_text())["clips"]:
        example = generator.example(clip["index"])
        expected = mag(at_44100(example.target, 48_000), at_44100(example.mix, 48_000))
        assert clip["measures"]["input"]["mag"] == pytest.approx(
            PUBLISHED_SCALE * expected, abs=1e-5
        )


@pytest.mark.parametrize(
    ("gain_db", "programme_lufs", "levelled"),
    [
        *((-30.0, None, True), (-12.0, None, True), (0.0, None, False)),
        *((-12.0, -22.0, False), (0.0, -40.0, True)),
    ],
)
def test_clips_are_heard_as_remix_hears_a_film(
    model, stems, tmp_path, gain_db, programme_lufs, levelled
):
    """A quiet film is heard louder than it is, and so is a quiet clip, or one of such a film."""
    from semmix.training.clips import GeneratedClips
    from semmix.training.guides import segments
    from semmix.training.remixing import open_remixer

    clip = GeneratedClips(stems, 48_000, 5, 2.0).clip(0)
    mix = clip.mix * np.float32(10.0 ** (gain_db / 20.0))
    remixer = open_remixer(model, 48_000, "ort", 1, programme_lufs=programme_lufs)
    remixer(clip.mix, segments(clip.shots))
    path = tmp_path / "clip.wav"
    soundfile.write(path, mix, 48_000, subtype="FLOAT")
    cues = CueSheet(segments(clip.shots))
    film = semmix_rt.remix(
        path, model=model, cues=cues, engine="ort", programme_lufs=programme_lufs
    )
    expected = soundfile.read(film.output, dtype="float32")[0]
    np.testing.assert_array_equal(remixer(mix, cues.segments), expected)
    assert (film.report.model.level_gain_db != 0.0) == levelled


def test_the_seed_fixes_every_number(model, stems, tmp_path):
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        assert run(model, stems, "--json", tmp_path / name, "-q", "--seed", seed) == 0
    first, again, other = ((tmp_path / name).read_text() for name in "abc")
    assert first == again
    assert first != other


def test_an_existing_json_file_stays(model, stems, tmp_path, capsys):
    path = tmp_path / "numbers.json"
    path.write_text("precious")
    assert run(model, stems, "--json", path) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert path.read_text() == "precious"
    assert run(model, stems, "--json", path, "--overwrite", "-q") == 0
    assert json.loads(path.read_text())["model"] == "tiny"


def test_the_csv_has_a_row_for_each_clip_and_the_numbers_of_the_json(model, stems, tmp_path):
    table, numbers = tmp_path / "clips.csv", tmp_path / "clips.json"
    assert run(model, stems, "--json", numbers, "--csv", table, "-q") == 0
    with table.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    clips = json.loads(numbers.read_text())["clips"]
    assert [int(row["index"]) for row in rows] == [clip["index"] for clip in clips]
    checked = 0
    for row, clip in zip(rows, clips, strict=True):
        assert row["situations"].split() == clip["situations"]
        for condition, values in clip["measures"].items():
            for measure, value in values.items():
                cell = row[f"{condition}_{measure}"]
                assert (float(cell) if cell else None) == value
                checked += 1
    assert checked > 2 * 5 * 10


def test_the_plot_is_a_readable_picture(model, stems, tmp_path):
    path = tmp_path / "picture.png"
    assert run(model, stems, "--plot", path, "-q") == 0
    (picture,) = (f.to_ndarray(format="rgb24") for f in av.open(str(path)).decode(video=0))
    height, width, _ = picture.shape
    assert width > 1000
    assert height > 700
    # Points, boxes and words on white, in more than the black of an empty frame.
    inked = np.any(picture < 200, axis=2).mean()
    assert 0.01 < inked < 0.5
    assert len(np.unique(picture.reshape(-1, 3) // 64, axis=0)) > 8


def test_without_matplotlib_the_plot_is_refused_before_the_work(
    model, stems, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    path = tmp_path / "picture.png"
    assert run(model, stems, "--plot", path, "--json", tmp_path / "numbers.json") == 2
    assert "pip install 'semmix-rt[plots]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_ablation_shows_each_cue_type_alone(model, stems, tmp_path, capsys):
    path = tmp_path / "numbers.json"
    assert run(model, stems, "--ablate", "--json", path) == 0
    shown = capsys.readouterr().out
    data = json.loads(path.read_text())
    names = ("appearance", "emotion", "camera_focus", "tone", "scene", "sound")
    titles = {f"only_{name}": f"only {name.replace('_', ' ')}" for name in names}
    for condition, title in {**titles, "minimal": "a word or two"}.items():
        first, second = (x for x in shown.splitlines() if x.strip().startswith(title))
        change = data["change_percent"][f"{condition} against input"]["mag"]
        assert f"{condition} against none" in data["change_percent"]
        assert f"{change:+.1f}" in first
        change = data["change_percent"][f"{condition} against right"]["mag"]
        low, high = data["interval_95_percent"][f"{condition} against right"]["mag"]
        assert low <= change <= high
        assert f"{change:+.1f} ({low:+.1f} to {high:+.1f})" in second


def test_the_json_says_what_ran_on_what(model, stems, tmp_path):
    path = tmp_path / "numbers.json"
    assert run(model, stems, "--clips", 1, "--json", path, "-q", "--threads", 2) == 0
    data = json.loads(path.read_text())
    assert (data["engine"], data["provider"]) == ("ort", "CPUExecutionProvider")
    assert (data["threads"], data["told"], data["skipped"]) == (2, "cues", [])
    assert data["encoder"]
    packages = data["tool"]["packages"]
    assert packages["numpy"] == np.__version__
    assert "onnxruntime" in packages
    assert data["tool"]["version"] == version("semmix-rt")
    # The files' names and sizes, and what their names say of them.
    files = sorted(stems.rglob("*.wav"), key=lambda f: (ORDER.index(f.parent.name), f.name))
    lines = [f"('{f.parent.name}/{f.name}', {f.stat().st_size}, '{f.stem}')\n" for f in files]
    assert data["source_sha256"] == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_a_tagger_adds_kld_to_every_condition(model, stems, tmp_path, capsys):
    from semmix.training.scenes import SceneGenerator
    from semmix.training.stems import StemLibrary

    tagger, path = linear_tagger(tmp_path / "tagger.onnx", [1, WINDOW]), tmp_path / "numbers.json"
    more = ("--clips", 1, "--tagger", tagger, "--json", path)
    assert run(model, stems, *more) == 2
    assert "--tagger-rate" in capsys.readouterr().err
    assert run(model, stems, *more, "--tagger-rate", 48_000) == 0
    assert "kld" in capsys.readouterr().out
    data = json.loads(path.read_text())
    example = SceneGenerator(StemLibrary(stems, 48_000), 1, 2.0, drop_cues=False).example(0)
    wanted, found = (expected_distribution(x) for x in (example.target, example.mix))
    floored = found + 1e-6
    expected = entropy(wanted, floored) - np.log(floored.sum())
    (clip,) = data["clips"]
    assert clip["measures"]["input"]["kld"] == pytest.approx(100.0 * expected, rel=1e-3, abs=1e-4)
    assert {c for c, values in clip["measures"].items() if "kld" in values} == {
        *("input", "right", "none", "swapped", "good")
    }
    assert data["tagger"] == "tagger.onnx"


def test_readings_stand_beside_those_of_the_target(model, stems, tmp_path, capsys):
    path = tmp_path / "numbers.json"
    assert run(model, stems, "--json", path) == 0
    data = json.loads(path.read_text())
    (row,) = (line for line in capsys.readouterr().out.splitlines() if "integrated_lufs" in line)
    expected = [data["mean"][c]["integrated_lufs"] for c in ("target", "input", "right")]
    assert [float(cell) for cell in row.split()[1:4]] == pytest.approx(expected, abs=6e-4)
    assert "mag" not in data["mean"]["target"]


def test_bad_stems_and_models_have_their_codes(model, stems, tmp_path, capsys):
    assert run(model, tmp_path) == 3
    assert "speech" in capsys.readouterr().err
    assert run(tmp_path, stems) == 4
    assert run(model, stems, "--json", tmp_path / "no" / "such.json") == 2
    same = tmp_path / "same"
    assert run(model, stems, "--json", same, "--csv", same) == 2
    assert not same.exists()
    assert run(model, stems, "--engine", "abacus") in (2, 5)
    assert "abacus" in capsys.readouterr().err
