"""Every command and every line of Python in the README runs, as it stands there."""

from __future__ import annotations

import re
import shlex
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from semmix_rt.cli.root import main
from support_checkpoint import published, save_lightning, small_base
from support_encoders import t5

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[list[str]]:
    """Each `semmix-rt` call as arguments, comments cut off."""
    lines = [part for block in blocks("sh") for part in re.split(r"\n|&&", block)]
    words = [shlex.split(line, comments=True) for line in lines]
    return [w[1:] for w in words if w[:1] == ["semmix-rt"]]


@pytest.fixture
def place(tmp_path: Path, tiny_lvlm: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the README names; models have the real shapes, but small."""
    # What an earlier reader made there is left behind.
    ignore = shutil.ignore_patterns("*.remix.*")
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=ignore)
    shutil.copy(ROOT / "examples" / "bbb_meadow.mp4", tmp_path / "film.mp4")
    rng = np.random.default_rng(0)
    for folder in ("stems", "unseen_stems"):
        for stem in ("speech", "music", "effects"):
            (tmp_path / folder / stem).mkdir(parents=True)
            sound = 0.1 * rng.standard_normal(3 * 48_000)
            soundfile.write(tmp_path / folder / stem / "a.wav", sound, 48_000)
    save_lightning(tmp_path / "visah.ckpt", published(small_base("text").state_dict()))
    t5(tmp_path / "t5")
    shutil.copytree(tiny_lvlm, tmp_path / "llava")
    monkeypatch.chdir(tmp_path)
    return tmp_path


# What a reader lets run for hours is run for seconds here; nothing else is changed.
SHORTENED = {
    "train": ["--steps", "2", "--batch", "1", "--clip-s", "1", "--preset", "tiny"],
    "evaluate": ["--clips", "2", "--duration-s", "1"],
    "bench": ["--repeats", "2", "--warm-up", "1", "--no-memory"],
}


def test_every_command_does_what_it_says(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = commands()
    assert len(found) >= 12
    for arguments in found:
        before = {p: p.stat().st_mtime_ns for p in place.rglob("*") if p.is_file()}
        assert main([*arguments, *SHORTENED.get(arguments[0], [])]) == 0, arguments
        assert capsys.readouterr().out, arguments
        written = {p for p in place.rglob("*") if p.is_file() and p not in before}
        named = [a for a in arguments if a.endswith((".json", ".html", ".safetensors"))]
        assert all((place / name).exists() for name in named), arguments
        reads = arguments[0] in ("env", "verify", "inspect") or "--dry-run" in arguments
        assert bool(written) == (not reads), arguments


def test_the_python_lines_run(place: Path) -> None:
    (lines,) = blocks("python")
    sound = soundfile.SoundFile(place / "stems" / "speech" / "a.wav").read(dtype="float32")
    stereo = np.stack((sound, sound))
    names = {"blocks": np.split(stereo, 10, axis=1)}
    exec(lines, names)
    assert (place / "film.remix.mp4").exists()
    assert sum(block.shape[1] for block in names["rebalanced"]) == sound.size


def test_the_installs_name_extras_that_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {e for names in re.findall(r"\.\[([\w,]+)\]", README) for e in names.split(",")}
    extras |= set(re.findall(r"extra `(\w+)`", README))
    assert extras == {"cpu", "dev", "export", "lvlm"}
    assert extras <= set(project["optional-dependencies"])


def test_every_path_it_names_exists() -> None:
    folders = "examples|bench|semmix|calibration|export"
    named = re.findall(rf"`((?:{folders})/[\w./]+|[A-Z_]+\.md)`", README)
    assert len(named) >= 5
    made = {"examples/bbb_meadow.remix.mp4"}
    assert not [path for path in named if path not in made and not (ROOT / path).exists()]
