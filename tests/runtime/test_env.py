from __future__ import annotations

import json
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from semmix_rt import environment
from semmix_rt.cli.root import main

from semmix import bundle as bundle_package
from semmix.bundle import Bundle, write_bundle


@pytest.fixture
def tiny_default(tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny model as the default of the installation."""
    tiny_bundle.save(tmp_path / "bundles" / "edge")
    monkeypatch.setattr(bundle_package.bundle, "_BUNDLES", tmp_path / "bundles")
    return tmp_path / "bundles" / "edge"


def report_of(capsys: pytest.CaptureFixture[str]) -> tuple[int, dict]:
    code = main(["env", "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.usefixtures("tiny_default")
def test_a_sound_installation(capsys: pytest.CaptureFixture[str]) -> None:
    code, report = report_of(capsys)
    assert report["problems"] == []
    assert code == 0
    assert report["versions"]["numpy"] == version("numpy")
    assert report["versions"]["python"].startswith(f"{sys.version_info.major}.")
    assert report["providers"]["CPUExecutionProvider"] == "starts"
    assert report["default_bundle"]["name"] == "tiny"
    assert report["default_bundle"]["parity"]["fp32"]["snr_db"] == 120.0
    assert len(report["default_bundle"]["sha256"]) == 64
    assert "text/model.onnx" in report["models"]["checked"]
    assert report["cpu"]["usable_cores"] >= 1
    assert report["ffmpeg"]["libavcodec"].count(".") == 2
    assert main(["env"]) == 0
    text = capsys.readouterr().out
    assert "ready to remix" in text
    assert "passed parity (snr_db 120.0)" in text


def test_a_damaged_default_is_a_problem(
    tiny_default: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tiny_default / "context.onnx").write_bytes(b"damage")
    code, report = report_of(capsys)
    assert code == 1
    assert "context.onnx" in report["problems"][0]
    assert main(["env"]) == 1
    assert "problem: " in capsys.readouterr().out


def test_an_unproven_default_is_a_problem(
    tiny_bundle: Bundle, tiny_default: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bundle(
        tiny_default,
        tiny_bundle.spec,
        context=tiny_bundle.context_graph(),
        highlighters={"fp32": tiny_bundle.highlighter_graph()},
        golden=tiny_bundle.golden(),
        model_card="# tiny\n",
        provenance={},
        parity={"fp32": {"passed": False}},
        overwrite=True,
    )
    code, report = report_of(capsys)
    assert code == 1
    assert "parity" in report["problems"][0]


@pytest.mark.usefixtures("tiny_default")
def test_two_onnxruntime_packages_are_a_problem(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def both(package: str) -> str:
        if package in ("onnxruntime", "onnxruntime-gpu"):
            return "1.0"
        if package.startswith("onnxruntime"):
            raise PackageNotFoundError(package)
        return version(package)

    monkeypatch.setattr(environment, "version", both)
    code, report = report_of(capsys)
    assert code == 1
    assert "overwrite each other" in report["problems"][0]


@pytest.mark.usefixtures("tiny_default")
def test_a_provider_that_does_not_start_says_why(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime as ort

    built_in = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    if built_in[0] in ort.get_available_providers():
        pytest.skip("this onnxruntime has the CUDA provider built in")
    monkeypatch.setattr(ort, "get_available_providers", lambda: built_in)
    with pytest.warns(UserWarning, match="not in available provider"):
        code, report = report_of(capsys)
    assert code == 0
    assert "does not start" in report["providers"]["CUDAExecutionProvider"]
    assert report["providers"]["CPUExecutionProvider"] == "starts"


@pytest.mark.usefixtures("tiny_default")
def test_the_cache_is_measured(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEMMIX_CACHE_DIR", str(tmp_path / "cache"))
    assert report_of(capsys)[1]["cache"]["files"] == 0
    entry = tmp_path / "cache" / "cues" / "entry.json"
    entry.parent.mkdir(parents=True)
    entry.write_bytes(bytes(1234))
    cache = report_of(capsys)[1]["cache"]
    assert (cache["files"], cache["bytes"]) == (1, 1234)
