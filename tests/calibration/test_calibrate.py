"""`semmix-rt calibrate`, its Python twin and its walkthrough."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import onnx
import pytest
import tolerances
from semmix_calibration import calibrate, int8
from semmix_calibration.build import Made
from semmix_calibration.cli import made_line, missed_lines
from semmix_calibration.search import (
    Accuracy,
    BlockCost,
    Frontier,
    FrontierPoint,
    TargetMissedError,
)
from semmix_rt.cli.root import main
from semmix_rt.engines import open_engine
from semmix_rt.whole_signal import hear, masks_of

from semmix.bundle import Bundle
from semmix.errors import MediaError, UsageError
from semmix.metrics import snr_db

SEARCHED_DB = 52
README = Path(__file__).resolve().parents[2] / "calibration" / "README.md"


def run(*words: object) -> int:
    return main(["calibrate", *(str(w) for w in words)])


def test_a_bundle_gets_precisions_with_what_was_measured(
    small: Bundle, stems: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "more.zip"
    options = ("--clip-s", 0.5, "--clips", 1, "--search", "--target-db", 20, "--json")
    assert run(small.path, "-o", output, "--stems", stems, *options) == 0
    told = json.loads(capsys.readouterr().out)
    bundle = Bundle.load(output)
    assert set(bundle.precisions) == {"fp32", "fp16", "int8", "int8cpu"}
    assert bundle.highlighter_graph("fp32") == small.highlighter_graph("fp32")
    assert bundle.parity["fp32"] == small.parity["fp32"]
    assert told["fp32_bytes"] == len(small.highlighter_graph())
    for precision in ("fp16", "int8", "int8cpu"):
        assert not bundle.parity_passed(precision)
        assert "verify" in bundle.parity[precision]["why"]
        graph = bundle.highlighter_graph(precision)
        assert told["precisions"][precision]["bytes"] == len(graph)
        facts = bundle.manifest.provenance["precisions"][precision]
        sources = [c for c in facts["calibrated_on"] if c["source"]]
        assert all(len(c["sha256"]) == 64 for c in sources)
        made = {"tone", "click", "clipped", "faint", "starts and stops"}
        assert {c["class"] for c in facts["measured_on"]} == {"speech", "music", "effects"} | made
        assert facts["snr_db"].keys() == {c["class"] for c in facts["measured_on"]}
        assert min(facts["snr_db"].values()) == pytest.approx(
            told["precisions"][precision]["snr_db"], abs=0.01
        )
        lists = [facts[name] for name in ("calibrated_on", "chosen_on", "measured_on")]
        cuts = [{(c["sha256"], c["start_s"]) for c in clips if c["source"]} for clips in lists]
        assert len(cuts[0] | cuts[1] | cuts[2]) == sum(len(cut) for cut in cuts)
        assert cuts[1]
    points = told["frontier"]["points"]
    assert [p["share"] for p in points] == sorted((p["share"] for p in points), reverse=True)
    assert told["frontier"]["chosen"]["snr_db"] >= 20
    kept = set(told["frontier"]["chosen"]["kept"])
    assert kept == set(told["precisions"]["int8"]["kept"])
    assert {b["block"] for b in told["frontier"]["blocks"]} >= kept


def test_what_is_told_of_a_precision_is_what_an_engine_finds(
    small: Bundle, stems: Path, tmp_path: Path
) -> None:
    found = calibrate(
        small,
        tmp_path / "half",
        stems=stems,
        precisions=("fp16", "int8cpu"),
        clip_s=1.0,
        clips=1,
        method="percentile",
    )
    assert found.frontier is None
    by_name = {made.precision: made for made in found.made}
    sound = next((stems / "speech").glob("*.wav"))
    import soundfile

    wave = soundfile.read(sound, dtype="float32")[0][None]
    reference = masks_of(open_engine(small, "torch"), wave, None)
    half = masks_of(open_engine(found.bundle, "ort", precision="fp16"), wave, None)
    expected = hear(open_engine(small, "torch"), wave, None).output
    eight = hear(open_engine(found.bundle, "ort", precision="int8cpu"), wave, None).output
    assert snr_db(reference, half) >= tolerances.FP16_SNR_DB
    # Another clip than the one it was measured on, and optimised kernels.
    speech_db = by_name["int8cpu"].accuracy.by_kind()["speech"]
    assert abs(snr_db(expected, eight) - speech_db) < tolerances.INT8_CLIPS_DB
    assert by_name["int8cpu"].times_as_fast is not None
    assert by_name["fp16"].times_as_fast is None
    operators = {n.op_type for n in onnx.load_from_string(by_name["int8cpu"].graph).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= operators


def test_a_target_out_of_reach_writes_nothing_and_tells_what_was_found(
    small: Bundle, stems: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--precision", "int8", "--clip-s", 0.5, "--clips", 1, "--search")
    code = run(
        *(small.path, "-o", tmp_path / "none", "--stems", stems, *options),
        *("--target-db", 99, "--json"),
    )
    assert code == 5
    captured = capsys.readouterr()
    assert "no choice of INT8 blocks reaches 99 dB" in captured.err
    told = json.loads(captured.out)
    assert told["bundle"] is None
    assert told["precisions"] == {}
    frontier = told["frontier"]
    assert frontier["chosen"] is None
    assert frontier["target_db"] == 99
    blocks = {p.block for p in int8.products(small.highlighter_graph())}
    assert {b["block"] for b in frontier["blocks"]} == blocks
    assert len(frontier["points"]) == len(blocks)
    best_db = max(p["snr_db"] for p in frontier["points"])
    assert f"the best has {best_db:.1f} dB" in captured.err
    assert list(tmp_path.iterdir()) == []


def test_what_a_failed_search_found_is_printed(
    small: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    found = Accuracy(("speech", "tone"), (40.0, 31.2))
    frontier = Frontier(
        50.0, (BlockCost("fold", found, 0.25),), (FrontierPoint((), 0.75, found),), None
    )

    def missed(*args: object, **options: object) -> None:
        raise TargetMissedError(frontier)

    monkeypatch.setattr("semmix_calibration.calibration.calibrate", missed)
    assert run(small.path, "-o", tmp_path / "x", "--media", "y.wav") == 5
    captured = capsys.readouterr()
    assert re.search(r"fold +31\.2 dB \(tone\) +25\.0 % of the work", captured.out)
    assert re.search(r"75\.0 % INT8 +31\.2 dB \(tone\) +FP16: none", captured.out)
    assert "reaches 50 dB" in captured.err
    assert run(small.path, "-o", tmp_path / "x", "--media", "y.wav", "--quiet") == 5
    assert capsys.readouterr().out == ""


def test_a_network_that_misses_the_target_on_held_out_sound_says_so() -> None:
    made = Made("int8", b"", Accuracy(("speech", "tone"), (40.0, 31.2)), 0.9)
    (line,) = missed_lines(made, 34.0)
    assert "held-out sound has 2.8 dB less than the target" in line
    assert list(missed_lines(made, 31.0)) == []


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "either --stems DIR or --media FILE"),
        (("--media", "missing.mp4"), "missing.mp4"),
        (("--media", "x.wav", "--precision", "fp32"), "'fp32' is not made by calibration"),
        (("--media", "x.wav", "--precision", ","), "no precision"),
    ],
)
def test_requests_that_cannot_be_met_are_refused(
    small: Bundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    sentence: str,
) -> None:
    assert run(small.path, "-o", tmp_path / "out", *options) in (2, 3)
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_taken_output_is_refused_before_anything_is_heard(
    small: Bundle, stems: Path, tmp_path: Path
) -> None:
    (tmp_path / "precious").write_bytes(b"x")
    with pytest.raises(UsageError, match="exists already"):
        calibrate(small, tmp_path, stems=stems)
    with pytest.raises(UsageError, match="no method 'guess'"):
        calibrate(small, tmp_path / "new", stems=stems, method="guess")
    assert [p.name for p in tmp_path.iterdir()] == ["precious"]


@pytest.mark.parametrize(
    ("times", "words"),
    [(None, "for TensorRT"), (0.9, "no faster on this CPU"), (1.3, "1.30 times as fast")],
)
def test_speed_is_claimed_only_where_it_was_measured(times: float | None, words: str) -> None:
    found = Accuracy(("speech", "tone"), (40.0, 31.2))
    made = Made("int8cpu", b"x" * 1_000_000, found, 0.9, times_as_fast=times)
    line = made_line(made, 4_000_000)
    assert "31.2 dB on held-out sound (worst: tone)" in line
    assert words in line
    assert "1.0 MB instead of 4.0" in line
    assert ("VNNI" in line) == (times == 0.9)


# What a reader runs for minutes is run on a small network here; nothing else is changed.
def test_the_walkthrough_does_what_it_says(
    small: Bundle, stems: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(small.path, tmp_path / "edge")
    shutil.copytree(stems, tmp_path / "stems")
    shutil.copy(stems / "speech" / "0.wav", tmp_path / "film.wav")
    (tmp_path / "tests.txt").write_text("0" * 64 + "  other.wav\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    text = README.read_text(encoding="utf-8")
    lines = [
        shlex.split(line, comments=True)
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        for line in block.replace("\\\n", " ").splitlines()
    ]
    commands = [words[1:] for words in lines if words[:1] == ["semmix-rt"]]
    ours = [words for words in commands if words[0] == "calibrate"]
    assert len(ours) >= 3
    for words in ours:
        short = ["--clip-s", "0.5", "--clips", "1"]
        if "--search" in words:
            # All of the small network in INT8 misses this, and not all of it need be left out.
            short += ["--target-db", str(SEARCHED_DB)]
        assert main([*words, *short]) == 0, words
    facts = Bundle.load(tmp_path / "edge-mixed").manifest.provenance["precisions"]["int8"]
    assert facts["kept"]
    assert facts["int8_share"] > 0.0
    (script,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(compile(script, str(README), "exec"), {})


def test_the_model_that_comes_along_is_known_by_name(tmp_path: Path) -> None:
    """What is missing is the sound, not the bundle."""
    with pytest.raises(MediaError, match=r"nothing\.wav"):
        calibrate("edge", tmp_path / "out", media=[tmp_path / "nothing.wav"])
