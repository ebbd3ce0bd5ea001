"""The commands of export's README run, in their order, on a tiny network."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from semmix_export.encoders import exporting
from semmix_rt.cli.root import main
from support_encoders import ExportedEncoder
from support_remix import film
from support_window import tiny_window_bundle, with_context

README = Path(__file__).resolve().parents[2] / "export" / "README.md"


@pytest.mark.trt
@pytest.mark.usefixtures("quick_export")
def test_every_command_works(
    exported,
    exported_encoders: dict[str, ExportedEncoder],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copy(exported.checkpoint, tmp_path / "run.safetensors")
    encoder = exported_encoders["t5"]
    shutil.copytree(encoder.source, tmp_path / "t5")
    monkeypatch.setitem(
        exporting._ROADS,
        "torch",
        lambda model, kind, length, path: shutil.copy(encoder.folder / path.name, path),
    )
    tiny_window_bundle(tmp_path / "visah", with_context("text", context_dim=64))
    film(tmp_path / "film.mp4", 1.0)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```sh\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert len(lines) >= 5
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "semmix-rt"
        assert main(arguments) == 0, line
        assert capsys.readouterr().out, line
    # Context and mask for two targets.
    assert len(list((tmp_path / "engines").glob("*.plan"))) == 4
    assert (tmp_path / "film.remix.mp4").exists()
    monkeypatch.setenv("SEMMIX_ENGINES_DIR", str(tmp_path / "engines"))
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    exec(code, {})
    assert re.search(r"fp32 .*\.plan \{'Float': ", capsys.readouterr().out)
