from __future__ import annotations

from pathlib import Path

import pytest
from semmix_rt.cli.root import main

from semmix.bundle import Bundle


def export(checkpoint: Path, output: Path, *options: object) -> int:
    return main(["export", str(checkpoint), "-o", str(output), *(str(o) for o in options)])


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a refusal says."""
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.strip().splitlines()
    return line


@pytest.mark.usefixtures("quick_export")
def test_a_checkpoint_becomes_a_bundle_and_the_proof_is_told(
    exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "made"
    card = tmp_path / "card.md"
    card.write_text("# Größe\n", encoding="utf-8")
    assert export(exported.checkpoint, output, "--model-card", card) == 0
    bundle = Bundle.load(output)
    told = capsys.readouterr().out
    assert told == f"{output}: fp32 agrees with PyTorch to {bundle.parity['fp32']['snr_db']} dB\n"
    assert bundle.spec == exported.bundle.spec
    assert bundle.golden().keys() == exported.bundle.golden().keys()
    assert bundle.read("MODEL_CARD.md").decode() == "# Größe\n"

    assert export(exported.checkpoint, output, "--overwrite") == 0
    assert Bundle.load(output).read("MODEL_CARD.md") == b"# made\n"


def test_an_existing_output_is_refused_before_anything_is_exported(
    exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*arguments: object) -> None:
        raise AssertionError("nothing may be exported")

    monkeypatch.setattr("semmix_export.bundle.export_context", never)
    output = tmp_path / "made"
    output.mkdir()
    (output / "precious").write_bytes(b"x")
    assert export(exported.checkpoint, output) == 2
    assert f"{output} exists already" in sentence(capsys)
    assert [p.name for p in output.iterdir()] == ["precious"]


@pytest.mark.usefixtures("quick_export")
def test_a_folder_that_is_no_bundle_is_kept_even_with_overwrite(
    exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "precious").write_bytes(b"x")
    assert export(exported.checkpoint, tmp_path, "--overwrite") == 2
    assert "no bundle" in sentence(capsys)
    assert [p.name for p in tmp_path.iterdir()] == ["precious"]


@pytest.mark.parametrize("content", [None, b"", b"no checkpoint at all"])
def test_what_is_no_checkpoint_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    checkpoint = tmp_path / "run.safetensors"
    if content is not None:
        checkpoint.write_bytes(content)
    assert export(checkpoint, tmp_path / "made") == 4
    assert str(checkpoint) in sentence(capsys)
    assert not (tmp_path / "made").exists()


def test_a_bundle_is_no_checkpoint(
    exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(exported.bundle.path / "network.safetensors", tmp_path / "made") == 4
    assert "the format is None" in sentence(capsys)


def test_a_model_card_that_is_not_there_is_refused(
    exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "card.md"
    assert export(exported.checkpoint, tmp_path / "made", "--model-card", missing) == 2
    assert str(missing) in capsys.readouterr().err
