from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from semmix_rt.cli.root import main
from support_remix import contents, film, make_bundle, nothing_left

PROGRAM = "import sys; from semmix_rt.cli.root import main; sys.exit(main())"


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return str(make_bundle(tmp_path_factory.mktemp("bundles") / "tiny").path)


@pytest.fixture
def source(tmp_path) -> Path:
    return film(tmp_path / "film.mp4")


def test_one_line_tells_what_was_done(source, model, capsys):
    assert main(["remix", str(source), "--model", model]) == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    assert out.startswith(str(source.with_name("film.remix.mp4")))
    assert "x real time" in out
    assert " LUFS" in out
    assert err == ""


def test_json_is_all_there_is_on_stdout(source, model, capsys, tmp_path):
    report = tmp_path / "r.json"
    args = ["remix", str(source), "--model", model, "--json", "--report", str(report)]
    assert main(args) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == json.loads(report.read_text())
    assert err == ""


def test_quiet_says_nothing_but_warnings(model, capsys, tmp_path):
    source = film(tmp_path / "film.mp4")
    assert main(["remix", str(source), "--model", model, "-q"]) == 0
    assert capsys.readouterr() == ("", "")
    sheet = tmp_path / "empty.json"
    sheet.write_text('{"format": "semmix-cue-sheet", "version": 1, "segments": []}')
    assert main(["remix", str(source), "--model", model, "-qy", "--cues", str(sheet)]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("warning: the cue sheet has no segments")


def test_dry_run_says_what_would_be_done(source, model, capsys, tmp_path):
    with nothing_left(tmp_path):
        args = [
            "remix",
            str(source),
            "--model",
            model,
            "--dry-run",
            "--amount",
            "0.25",
            "--no-cache",
        ]
        assert main([*args, "--max-gain-db", "6", "--audio-bitrate", "256k"]) == 0
    out, _ = capsys.readouterr()
    for words in (
        "copied bit for bit",
        "rebalanced, written as aac, 48000 Hz, stereo, 256 kb/s",
        "read from the picture by",
        "CPUExecutionProvider, fp32",
        "25 % of the change, at most 6 dB",
        "nothing was written",
    ):
        assert words in out


def test_options_reach_the_run(source, model, capsys, tmp_path):
    output = tmp_path / "other.mka"
    args = ["remix", str(source), "-o", str(output), "--model", model, "--json", "--no-cache"]
    args += ["--audio-codec", "flac", "--threads", "2", "--engine", "ort", "--audio-stream", "0"]
    assert main([*args, "--amount", "0.5", "--max-gain-db", "3"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["output"] == str(output)
    assert output.exists()
    assert report["plan"]["codec"] == "flac"
    assert report["model"]["threads"] == 2
    assert report["amount"] == 0.5
    assert report["max_gain_db"] == 3.0
    assert report["cues"]["source"] == "extractor"


@pytest.mark.parametrize(
    "extra",
    [
        ["--amount", "nan"],
        ["--amount", "1.5"],
        ["--amount", "much"],
        ["--max-gain-db", "nan"],
        ["--max-gain-db", "-1"],
        ["--audio-bitrate", "fast"],
        ["--audio-bitrate", "1e9k"],
        ["--audio-bitrate", "0"],
        ["--threads", "0"],
        ["--audio-stream", "-1"],
        ["--frobnicate"],
    ],
)
def test_options_that_make_no_sense_are_usage_errors(source, model, capsys, tmp_path, extra):
    with nothing_left(tmp_path):
        assert main(["remix", str(source), "--model", model, *extra]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err


def test_an_existing_output_stays_unless_overwritten(source, model, tmp_path):
    output = source.with_name("film.remix.mp4")
    output.write_bytes(b"precious")
    with nothing_left(tmp_path):
        assert main(["remix", str(source), "--model", model]) == 2
    assert main(["remix", str(source), "--model", model, "--overwrite"]) == 0
    assert output.read_bytes()[4:8] == b"ftyp"


def test_help_gives_a_reason_for_every_option(capsys):
    assert main(["remix", "--help"]) == 0
    text = capsys.readouterr().out
    names = "output amount max-gain-db cues model engine audio-stream report overwrite dry-run json"
    for name in f"{names} quiet no-cache threads audio-codec audio-bitrate".split():
        assert f"--{name}" in text


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing_behind(tmp_path, model, number):
    source = tmp_path / "long.wav"
    _sparse_wav(source, seconds=3_600)
    before = contents_but(tmp_path, source)
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "remix", str(source), "--model", model],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".*.part*")):
            assert child.poll() is None, "the run ended before it could be interrupted"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.2)
        child.send_signal(number)
        _, err = child.communicate(timeout=30)
    finally:
        child.kill()
    assert child.returncode == (130 if number == signal.SIGINT else 143)
    assert "Traceback" not in err
    assert contents_but(tmp_path, source) == before


def contents_but(folder: Path, source: Path) -> set[str]:
    return {str(p) for p in folder.rglob("*")} - {str(source)}


def _sparse_wav(path: Path, seconds: int) -> None:
    """Mono silence at 48 kHz that takes no disk space."""
    data = seconds * 96_000
    header = b"RIFF" + (36 + data).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    header += (1).to_bytes(2, "little") + (1).to_bytes(2, "little")
    header += (48_000).to_bytes(4, "little") + (96_000).to_bytes(4, "little")
    header += (2).to_bytes(2, "little") + (16).to_bytes(2, "little")
    with path.open("wb") as file:
        file.write(header + b"data" + data.to_bytes(4, "little"))
        file.truncate(44 + data)


def test_contents_see_hidden_files(tmp_path):
    (tmp_path / ".x.part").write_bytes(b"1")
    assert contents(tmp_path) == {".x.part": b"1"}
