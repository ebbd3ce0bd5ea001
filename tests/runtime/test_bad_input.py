"""Whatever comes in: a sentence and an exit code, or a correct result; never a broken file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from semmix_rt.cli.root import main
from support_media import Sound, decode_audio, make_media
from support_remix import film, make_bundle, nothing_left, programme

PROGRAM = "import sys; from semmix_rt.cli.root import main; sys.exit(main())"
SHEET = '{"format": "semmix-cue-sheet", "version": 1, "segments": [%s]}'


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundles") / "tiny").path


@pytest.fixture
def refused(tmp_path, model, capsys):
    """Run `remix` and check that it says one sentence, exits so, and touches no file."""

    def run(source: Path, *args: object, code: int, words: str, with_model: bool = True) -> None:
        line = ["remix", str(source), *map(str, args)]
        with nothing_left(tmp_path):
            assert main([*line, "--model", str(model)] if with_model else line) == code
        out, err = capsys.readouterr()
        assert out == ""
        assert words in err
        assert err.startswith("semmix-rt: error: ")
        assert err.count("\n") == 1

    return run


def remixed(source: Path, model: Path, *args: str) -> Path:
    """Run `remix` to a WAV beside the source and return it."""
    output = source.with_name("out.wav")
    assert main(["remix", str(source), "-o", str(output), "--model", str(model), "-q", *args]) == 0
    return output


# The film.


def test_no_file(tmp_path, refused):
    refused(tmp_path / "none.mp4", code=3, words="there is no file")


def test_a_folder(tmp_path, refused):
    (tmp_path / "films").mkdir()
    refused(tmp_path / "films", code=3, words="is a folder")


def test_not_a_media_file(tmp_path, refused):
    source = tmp_path / "letter.mp4"
    source.write_text("Dear sound engineer,\n" * 100)
    refused(source, code=3, words="not a media file")


def test_an_empty_file(tmp_path, refused):
    source = tmp_path / "empty.mp4"
    source.touch()
    refused(source, code=3, words="is empty")


def test_no_audio_stream(tmp_path, refused):
    source = make_media(tmp_path / "mute.mp4")
    refused(source, code=3, words="no audio stream")


def test_an_audio_stream_that_is_not_there(tmp_path, refused):
    source = film(tmp_path / "film.mp4", seconds=0.5)
    refused(source, "--audio-stream", 3, code=3, words="has no audio stream 3")


def test_an_unknown_codec(tmp_path, refused):
    source = tmp_path / "strange.wav"
    soundfile.write(source, programme(0.5).T, 48_000)
    data = bytearray(source.read_bytes())
    data[20:22] = b"\x34\x12"  # the format tag of the fmt chunk
    source.write_bytes(data)
    refused(source, code=3, words="unknown or has no decoder")


@pytest.mark.parametrize("share", [0.02, 0.5, 0.8])
def test_a_file_cut_off_at_its_end(tmp_path, model, capsys, share):
    """With its index gone nothing can be read; with the index in front, what is there is kept."""
    for name, options in (("back.mp4", {}), ("front.mp4", {"movflags": "+faststart"})):
        whole = make_media(
            tmp_path / f"whole.{name}", Sound("aac", programme(3.0)), frames=75, options=options
        )
        source = tmp_path / name
        source.write_bytes(whole.read_bytes()[: int(share * whole.stat().st_size)])
        output = tmp_path / f"{name}.out.mp4"
        code = main(["remix", str(source), "-o", str(output), "--model", str(model), "-q"])
        err = capsys.readouterr().err
        if code == 0:
            assert "warning" in err
            assert 0 < decode_audio(output).samples.shape[1] <= 3 * 48_000 + 2_048
        else:
            assert code == 3
            assert err.count("\n") == 1
            assert not output.exists()
        assert not list(tmp_path.glob(".*"))


def test_one_sample(tmp_path, model):
    source = tmp_path / "click.wav"
    soundfile.write(source, np.full((1, 2), 0.25), 48_000, subtype="FLOAT")
    sound, rate_hz = soundfile.read(remixed(source, model))
    assert (sound.shape, rate_hz) == ((1, 2), 48_000)
    assert np.isfinite(sound).all()


@pytest.mark.parametrize(
    ("rate_hz", "channels"),
    [(8_000, 1), (11_025, 1), (44_100, 1), (96_000, 2), (192_000, 1), (48_000, 6), (44_100, 8)],
)
def test_every_rate_and_layout_keeps_length_and_level(tmp_path, model, rate_hz, channels):
    dry = programme(0.7, rate_hz, channels)[:, : round(0.7 * rate_hz) - 3]
    source = tmp_path / "in.wav"
    soundfile.write(source, dry.T, rate_hz, subtype="FLOAT")
    output = remixed(source, model)
    wet, rate_out_hz = soundfile.read(output, always_2d=True)
    assert rate_out_hz == rate_hz
    assert wet.shape == dry.T.shape
    # The tiny network's gains lie between 0 and 2.
    loudness = np.sqrt(np.mean(wet**2, axis=0) / np.mean(dry.T**2, axis=0))
    assert ((loudness > 0.1) & (loudness < 2.0)).all()


def test_a_5_1_film_keeps_its_layout(tmp_path, model):
    source = make_media(tmp_path / "in.mp4", Sound("ac3", programme(1.0, channels=6)), frames=25)
    output = tmp_path / "out.mp4"
    assert main(["remix", str(source), "-o", str(output), "--model", str(model), "-q"]) == 0
    dry, wet = decode_audio(source), decode_audio(output)
    assert wet.layout.startswith("5.1")
    assert wet.samples.shape[0] == 6
    assert wet.rate == dry.rate


# The output.


def test_an_existing_output_stays(tmp_path, refused):
    source = film(tmp_path / "film.mp4", seconds=0.5)
    (tmp_path / "film.remix.mp4").write_bytes(b"precious")
    refused(source, code=2, words="exists")


def test_the_input_as_output_is_refused(tmp_path, refused):
    source = film(tmp_path / "film.mp4", seconds=0.5)
    refused(source, "-o", source, "-y", code=2, words="is the input")


def test_an_output_in_a_place_that_is_no_folder(tmp_path, refused):
    source = film(tmp_path / "film.mp4", seconds=0.5)
    refused(source, "-o", source / "out.mp4", code=2, words="folder")
    refused(source, "-o", tmp_path / "no" / "out.mp4", code=2, words="does not exist")
    refused(source, "-o", tmp_path, code=2, words="is a folder")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere"
)
def test_an_unwritable_folder(tmp_path, refused):
    source = film(tmp_path / "film.mp4", seconds=0.5)
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    refused(source, "-o", locked / "out.mp4", code=2, words="locked")


@pytest.mark.parametrize(("suffix", "words"), [(".xyz", "suffix"), ("", "suffix")])
def test_an_output_of_no_known_kind(tmp_path, refused, suffix, words):
    source = film(tmp_path / "film.mp4", seconds=0.5)
    refused(source, "-o", tmp_path / f"out{suffix}", code=2, words=words)


def test_an_encoder_that_is_not_there(tmp_path, refused):
    source = film(tmp_path / "film.mp4", seconds=0.5)
    refused(source, "--audio-codec", "loudly", code=3, words="no audio encoder 'loudly'")


@pytest.mark.skipif(os.name == "nt", reason="needs a limit on file sizes")
def test_a_full_disk(tmp_path, model):
    import resource

    source = film(tmp_path / "film.mp4", seconds=6.0)
    limit = 65_536
    assert source.stat().st_size > 2 * limit
    with nothing_left(tmp_path):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, "remix", str(source), "--model", str(model)],
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.count("semmix-rt: error: ") == 1
    assert "Traceback" not in done.stderr


# The cue sheet.


@pytest.mark.parametrize(
    ("sheet", "words"),
    [
        ("", "not valid JSON"),
        ("[]", "must be an object"),
        ("[" * 100_000, "nested too deeply"),
        (SHEET % '{"start_s": NaN, "end_s": 1, "cues": {}}', "NaN"),
        (SHEET % '{"start_s": 1e999, "end_s": 1, "cues": {}}', "finite"),
        (SHEET % '{"start_s": 2, "end_s": 1, "cues": {}}', "not after start_s"),
        (SHEET % '{"start_s": 0, "end_s": 1, "cues": {"smell": "Smoke."}}', "smell"),
        (SHEET % '{"start_s": 0, "end_s": 1, "cues": {"tone": "%s"}}' % ("x" * 400), "400"),
        (SHEET.replace("semmix-cue-sheet", "recipe") % "", "format"),
    ],
)
def test_a_wrong_cue_sheet(tmp_path, refused, sheet, words):
    source = film(tmp_path / "film.mp4", seconds=0.5)
    path = tmp_path / "cues.json"
    path.write_text(sheet)
    refused(source, "--cues", path, code=2, words=words)


def test_a_cue_sheet_of_a_gigabyte_is_not_read(tmp_path, refused):
    source = film(tmp_path / "film.mp4", seconds=0.5)
    path = tmp_path.parent / "huge.json"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    refused(source, "--cues", path, code=2, words="larger than")


def test_no_cue_sheet(tmp_path, refused):
    source = film(tmp_path / "film.mp4", seconds=0.5)
    refused(source, "--cues", tmp_path / "none.json", code=2, words="none.json")


# The model.


def test_no_bundle(tmp_path, refused):
    source = film(tmp_path / "film.mp4", seconds=0.5)
    bundle = tmp_path / "none"
    refused(source, "--model", bundle, code=4, words="none", with_model=False)
    bundle.mkdir()
    refused(source, "--model", bundle, code=4, words="is not a bundle", with_model=False)


def test_a_bundle_with_a_changed_network(tmp_path, model, refused):
    source = film(tmp_path / "film.mp4", seconds=0.5)
    bundle = tmp_path / "bundle"
    shutil.copytree(model, bundle)
    graph = bundle / "highlighter.fp32.onnx"
    data = bytearray(graph.read_bytes())
    data[len(data) // 2] ^= 1
    graph.write_bytes(data)
    refused(source, "--model", bundle, code=4, words="hash differs", with_model=False)


def test_a_bundle_that_reaches_outside_its_folder(tmp_path, model, refused):
    source = film(tmp_path / "film.mp4", seconds=0.5)
    manifest = json.loads((model / "bundle.json").read_text())
    text = json.dumps(manifest).replace("context.onnx", "../context.onnx")
    bundle = tmp_path / "bundle"
    shutil.copytree(model, bundle)
    (bundle / "bundle.json").write_text(text)
    refused(source, "--model", bundle, code=4, words="bundle", with_model=False)
    archive = tmp_path / "bundle.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("bundle.json", text)
        file.writestr("../context.onnx", (model / "context.onnx").read_bytes())
    refused(source, "--model", archive, code=4, words="bundle", with_model=False)
    assert not (tmp_path.parent / "context.onnx").exists()


def test_a_bundle_with_nan_in_its_numbers(tmp_path, model, refused):
    source = film(tmp_path / "film.mp4", seconds=0.5)
    bundle = tmp_path / "bundle"
    shutil.copytree(model, bundle)
    manifest = (bundle / "bundle.json").read_text()
    assert '"max_gain_db": 6.1' in manifest
    (bundle / "bundle.json").write_text(
        manifest.replace('"max_gain_db": 6.1', '"max_gain_db": NaN')
    )
    refused(source, "--model", bundle, code=4, words="bundle.json", with_model=False)


def test_an_engine_that_is_not_there(tmp_path, refused):
    source = film(tmp_path / "film.mp4", seconds=0.5)
    refused(source, "--engine", "steam", code=5, words="no engine 'steam'")
