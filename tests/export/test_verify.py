"""`verify`: what it writes, what it leaves alone, and how it fails."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from semmix_export import verification, verify
from semmix_export.gate_sounds import gate_sounds
from semmix_rt import Remixer
from semmix_rt.cli.root import main
from support_checkpoint import published, save_lightning
from support_export import a_little_off
from support_gate import only
from support_ort import stand_in_for

from semmix.bundle import Bundle, FileRecord
from semmix.errors import ModelFormatError, ParityError, UsageError


@pytest.fixture(autouse=True)
def _few_sounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sounds themselves are tested with the gate."""
    monkeypatch.setattr(verification, "gate_sounds", only("clipped", "steps", "speech"))


@pytest.fixture
def own(exported, tmp_path: Path) -> Bundle:
    """Its fp32 is right; what it calls fp16 and int8 is another network; none is proved."""
    wrong = a_little_off(exported.bundle.highlighter_graph())
    bundle = exported.bundle.save(tmp_path / "own")
    for precision in ("fp16", "int8"):
        bundle = bundle.add_precision(precision, wrong, parity={}, provenance={})
    return bundle.with_parity("fp32", {})


def test_records_are_kept_and_only_what_passed_may_run(own: Bundle) -> None:
    found = verify(own.path)
    again = Bundle.load(own.path)
    assert found.sha256 == again.sha256 != own.sha256
    assert found.kept == "bundle"
    assert not found.passed
    passed = {result.precision: result.passed for result in found.results}
    # Less than eleven bits leave, and more than eight do.
    assert passed == {"fp16": False, "fp32": True, "int8": True}
    for result in found.results:
        assert again.parity[result.precision] == result.record
        assert again.parity_passed(result.precision) == result.passed
    assert again.manifest.files == own.manifest.files
    Remixer(48_000, 1, model=own.path, precision="int8")
    with pytest.raises(ParityError, match=r"fp16 network of .* failed its comparison"):
        Remixer(48_000, 1, model=own.path, precision="fp16")


def test_a_bundle_may_stay_as_it_is(own: Bundle) -> None:
    found = verify(own, precisions=["fp32"], write=False)
    assert found.passed
    assert not found.kept
    assert Bundle.load(own.path).sha256 == own.sha256 == found.sha256
    assert [r.precision for r in found.results] == ["fp32"]


def test_the_model_that_comes_along_is_written_on_request_only(
    own: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("semmix.bundle.bundle._BUNDLES", own.path.parent)
    found = verify("own", precisions=["fp32"])
    assert found.passed
    assert not found.kept
    assert Bundle.load(own.path).sha256 == own.sha256
    assert verify("own", precisions=["fp32"], write=True).kept == "bundle"
    assert Bundle.load(own.path).parity_passed("fp32")


def test_other_engines_leave_no_record_in_the_bundle(own: Bundle) -> None:
    found = verify(own, engine="torch")
    (result,) = found.results
    assert result.record["engine"] == "torch"
    assert result.parity.snr_db == 200.0
    assert not found.kept
    with pytest.raises(UsageError, match="of compiled engines, not of torch"):
        verify(own, engine="torch", write=True)


def test_what_cannot_be_compared_is_refused(own: Bundle, exported, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no precision 'half'"):
        verify(own, precisions=["half"])
    with pytest.raises(ModelFormatError, match="has no int8cpu network"):
        verify(own, precisions=["int8cpu"])
    with pytest.raises(UsageError, match="was not imported"):
        verify(own, checkpoint=exported.checkpoint)
    with pytest.raises(ModelFormatError, match="there is no bundle at"):
        verify(tmp_path / "nowhere")


def test_progress_tells_every_sound(own: Bundle) -> None:
    told: list[tuple[str, int, int, str]] = []
    verify(own, precisions=["fp32"], write=False, progress=lambda *step: told.append(step))
    assert [step[1] for step in told] == list(range(len(told)))
    assert {step[2] for step in told} == {len(told)}
    assert {step[0] for step in told} == {"fp32"}
    assert {"clipped", "steps", "speech"} == {step[3] for step in told}


# --- Imported checkpoints -----------------------------------------------------------------------


def test_an_imported_bundle_is_held_against_its_checkpoint(windowed, tmp_path: Path) -> None:
    """Without weights for PyTorch in the bundle: those of the file it came from, and no other."""
    from semmix_export.provenance import file_record

    from semmix.bundle import write_bundle

    source = windowed.bundle
    file = save_lightning(tmp_path / "visah.ckpt", published(windowed.network.state_dict()))
    other = save_lightning(
        tmp_path / "other.ckpt", published(windowed.network.state_dict()) | {"loss": 1}
    )
    facts = source.manifest.provenance
    bundle = write_bundle(
        tmp_path / "imported",
        source.window_spec,  # type: ignore[arg-type]
        context=source.context_graph(),
        highlighters={"fp32": source.highlighter_graph()},
        golden=source.golden(),
        model_card="# x\n",
        provenance={**facts, "checkpoint": file_record(file)},
        parity={},
    )
    with pytest.raises(ModelFormatError, match=r"pass --checkpoint .* --with-torch"):
        verify(bundle)
    with pytest.raises(ModelFormatError, match=r"not the file .* pass visah\.ckpt"):
        verify(bundle, checkpoint=other)
    with pytest.raises(ModelFormatError, match="cannot be read"):
        verify(bundle, checkpoint=tmp_path / "gone.ckpt")
    found = verify(bundle, checkpoint=file)
    assert found.passed
    assert Bundle.load(bundle.path).parity_passed("fp32")


# --- The command --------------------------------------------------------------------------------


def test_the_command_tells_and_fails(
    own: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "verify.json"
    code = main(["verify", str(own.path), "--no-write", "--json", str(report)])
    assert code == ParityError.exit_code
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert "does not agree with PyTorch (fp16: " in err
    assert "fp32 agrees with torch" in out
    assert "fp16 does not agree with torch" in out
    assert "speech*" in out
    assert "the bundle is as it was" in out
    assert max(len(line) for line in out.splitlines() if "two shots" in line) <= 100
    data = json.loads(report.read_text())
    assert data["schema"] == "semmix-rt.verify"
    assert data["passed"] is False
    assert {p: r["passed"] for p, r in data["precisions"].items()} == {
        "fp16": False,
        "fp32": True,
        "int8": True,
    }
    assert Bundle.load(own.path).sha256 == own.sha256


def test_precisions_come_listed_or_again_and_odd_ones_are_refused_at_once(
    own: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[object] = []

    def listening(bundle: object, *, precisions: object, **options: object) -> object:
        asked.append(precisions)
        return verify(own, precisions=["fp32"], write=False)

    monkeypatch.setattr(verification, "verify", listening)
    line = ["verify", str(own.path), "-q", "--precision", "int8,fp32", "--precision", "fp16,int8"]
    assert main(line) == 0
    assert main(line[:3]) == 0
    assert asked == [("int8", "fp32", "fp16"), None]
    assert main([*line, "--precision", "fp32,half"]) == 2
    assert "no precision 'half'" in capsys.readouterr().err
    assert len(asked) == 2


def test_a_report_is_replaced_on_request_only(
    own: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "verify.json"
    report.write_text("mine")
    line = ["verify", str(own.path), "--precision", "fp32", "--no-write", "--json", str(report)]
    assert main(line) == 2
    assert "exists: pass --overwrite" in capsys.readouterr().err
    assert report.read_text() == "mine"
    assert main([*line, "--overwrite"]) == 0
    assert json.loads(report.read_text())["passed"] is True


def test_sounds_that_a_precision_was_chosen_on_are_pointed_out(
    own: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A number from there flatters; held-out sounds and other precisions' are as good as any."""
    files = {name: tmp_path / f"{name}.wav" for name in ("ranges", "blocks", "apart")}
    for number, path in enumerate(files.values()):
        soundfile.write(path, 0.1 * np.sin(np.arange(48_000) * (0.1 + 0.05 * number)), 16_000)
    clips = {name: [{"sha256": FileRecord.of(path).sha256}] for name, path in files.items()}
    facts = {
        "calibrated_on": [{"source": "made", "sha256": ""}, *clips["ranges"]],
        "chosen_on": clips["blocks"],
        "measured_on": clips["apart"],
    }
    graph = own.highlighter_graph()
    bundle = own.add_precision("int8", graph, parity={}, provenance=facts, replace=True)
    line = ["verify", str(bundle.path), "--no-write"]
    for path in files.values():
        line += ["--media", str(path)]
    assert main([*line, "--precision", "int8", "--json", "-"]) == 0
    out, err = capsys.readouterr()
    warnings = json.loads(out)["warnings"]
    assert len(warnings) == 2
    for name, warning in zip(("ranges", "blocks"), warnings, strict=True):
        assert warning.startswith(f"{files[name]} is among the sounds that int8 of ")
        assert f"warning: {warning}" in err
    assert main([*line, "--precision", "fp32"]) == 0
    assert "warning" not in capsys.readouterr().err


def test_json_on_stdout_is_all_there_is(own: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["verify", str(own.path), "--precision", "fp32", "--no-write", "--json", "-"]
    assert main(line) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["precisions"]["fp32"]["passed"] is True
    assert err == ""


def test_a_report_that_has_no_place_is_refused_at_once(
    own: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*arguments: object, **options: object) -> None:
        raise AssertionError("nothing may be heard")

    monkeypatch.setattr(verification, "verify", never)
    assert main(["verify", str(own.path), "--json", str(tmp_path / "no" / "r.json")]) == 2
    assert "is no folder" in capsys.readouterr().err


def test_only_made_sounds_are_owned_up_to(own: Bundle, monkeypatch, capsys) -> None:
    monkeypatch.setattr(
        verification,
        "gate_sounds",
        lambda spec, **options: tuple(replace(s, real=False) for s in gate_sounds(spec)[:1]),
    )
    assert main(["verify", str(own.path), "--precision", "fp32"]) == 0
    assert "Only made sounds were heard" in capsys.readouterr().out
    assert Bundle.load(own.path).parity["fp32"]["only_made_sounds"] is True


# --- Providers of GPUs --------------------------------------------------------------------------


def test_a_gpu_provider_is_proved_on_this_machine(
    own: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a provider that is none: TensorRT's, each graph for a batch of one."""
    monkeypatch.setenv("SEMMIX_CACHE_DIR", str(tmp_path / "cache"))
    stand_in_for(monkeypatch, "TensorrtExecutionProvider")
    options = {"model": own.path, "engine": "ort-tensorrt"}
    with pytest.raises(ParityError, match=r"never .* on this machine: run .*--engine ort-tensorrt"):
        Remixer(48_000, 1, **options)
    line = ["verify", str(own.path), "--engine", "ort-tensorrt", "--precision"]
    assert main([*line, "fp32"]) == 0
    assert "kept beside the engines, on this machine" in capsys.readouterr().out
    assert Bundle.load(own.path).sha256 == own.sha256
    Remixer(48_000, 1, **options)
    assert main([*line, "fp16"]) == ParityError.exit_code
    with pytest.raises(ParityError, match="in fp16 failed its comparison"):
        Remixer(48_000, 1, precision="fp16", **options)
