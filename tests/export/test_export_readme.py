"""The commands of export's README run, in their order, on a tiny network."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from semmix_rt.cli.root import main

README = Path(__file__).resolve().parents[2] / "export" / "README.md"


@pytest.mark.trt
@pytest.mark.usefixtures("quick_export")
def test_every_command_works(
    exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(exported.checkpoint, tmp_path / "run.safetensors")
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
