from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from semmix_rt.cli.root import EXIT_INTERRUPTED, main

from semmix.training.checkpoint import load_checkpoint

TINY = ("--preset", "tiny", "--batch", "1", "--clip-s", "0.5")


def train(stems: Path, output: Path, *options: str) -> int:
    return main(["train", "--stems", str(stems), "-o", str(output), *TINY, *options])


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a refusal says."""
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert captured.out == ""
    assert len(lines) == 1, captured.err
    assert "Traceback" not in captured.err
    return lines[0]


def test_a_run_writes_its_checkpoint_and_goes_on_from_it(
    stems: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.safetensors"
    assert train(stems, path, "--steps", "2", "--seed", "3", "--learning-rate", "1e-3") == 0
    assert capsys.readouterr().out.startswith(f"{path}: step 2, loss ")
    first = load_checkpoint(path)
    assert first.step == 2
    assert first.config.name == "tiny"
    expected = {"steps": 2, "batch": 1, "clip_s": 0.5, "seed": 3, "learning_rate": 1e-3}
    assert expected.items() <= first.settings.items()

    resumed = ("--resume", str(path), "--steps", "3", "--seed", "4")
    assert train(stems, path, *resumed) == 0
    assert capsys.readouterr().out.startswith(f"{path}: step 3, loss ")
    second = load_checkpoint(path)
    assert second.step == 3
    assert second.settings == {**first.settings, "steps": 3}
    assert [p.name for p in tmp_path.iterdir()] == ["run.safetensors"]


def test_more_workers_make_the_same_run(stems: Path, tmp_path: Path) -> None:
    paths = [tmp_path / f"{workers}.safetensors" for workers in (1, 3)]
    for path in paths:
        assert train(stems, path, "--steps", "4", "--workers", path.stem) == 0
    one, three = (load_checkpoint(path) for path in paths)
    assert all(torch.equal(one.model[name], three.model[name]) for name in one.model)


def test_an_existing_output_is_refused(
    stems: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.safetensors"
    path.write_bytes(b"precious")
    assert train(stems, path) == 2
    assert f"{path} exists" in sentence(capsys)
    assert path.read_bytes() == b"precious"


def test_a_folder_is_no_output_even_with_overwrite(
    stems: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(stems, tmp_path, "--overwrite") == 2
    assert "is a folder" in sentence(capsys)


@pytest.mark.parametrize(
    ("options", "clue"),
    [
        (("--preset", "huge"), "use one of edge, tiny"),
        (("--resume", "a", "--start", "b"), "give one of them"),
        (("--fresh", "head"), "name it with --start"),
        (("--resume", "a", "--set", "seed=2"), "a new run"),
        (("--set", "colour=red"), "average_decay, band_hidden"),
        (("--set", "dropout=much"), "must be like 0.0"),
        (("--steps", "0"), "at least 1 step"),
        (("--batch", "0"), "1 clip a step"),
        (("--clip-s", "0.4"), "0.5 to 60 s"),
        (("--clip-s", "nan"), "0.5 to 60 s"),
        (("--learning-rate", "0"), "learning rate of 0.0"),
        (("--learning-rate", "nan"), "learning rate of nan"),
        (("--learning-rate", "1e9"), "learning rate"),
        (("--device", "toaster"), "no device 'toaster'"),
    ],
)
def test_options_out_of_range_are_refused(
    stems: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    clue: str,
) -> None:
    assert train(stems, tmp_path / "run.safetensors", *options) == 2
    assert clue in sentence(capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options",
    [
        ("--seed", "-1"),
        ("--seed", str(2**32)),
        ("--threads", "0"),
        ("--workers", "0"),
        ("--steps", "many"),
    ],
)
def test_options_that_are_no_numbers_of_their_kind_are_refused(
    stems: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    assert train(stems, tmp_path / "run.safetensors", *options) == 2
    assert f"'{options[0]}'" in capsys.readouterr().err


def test_a_folder_that_holds_no_stems_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path, tmp_path / "run.safetensors") == 3
    assert "a stem folder holds speech/, music/, effects/" in sentence(capsys)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_is_none_cannot_be_resumed(
    stems: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.safetensors"
    assert train(stems, tmp_path / "new", "--resume", str(path)) == 4
    assert str(path) in sentence(capsys)
    path.write_bytes(b"no checkpoint")
    assert train(stems, path, "--resume", str(path)) == 4
    assert str(path) in sentence(capsys)
    assert path.read_bytes() == b"no checkpoint"


def test_a_broken_recording_ends_the_run_and_leaves_what_stands_there(
    stems: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sentence comes from the worker that met it."""
    broken = Path(shutil.copytree(stems, tmp_path / "stems"))
    for path in broken.rglob("*.wav"):
        path.write_bytes(b"no sound")
    output = tmp_path / "run.safetensors"
    output.write_bytes(b"precious")
    assert train(broken, output, "--overwrite") == 3
    assert "cannot be decoded" in sentence(capsys)
    assert output.read_bytes() == b"precious"


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="sends Ctrl-C to a group of processes")
def test_ctrl_c_of_a_terminal_saves_and_leaves_no_tracebacks(stems: Path, tmp_path: Path) -> None:
    """A terminal sends it to the workers too."""
    output = tmp_path / "run.safetensors"
    arguments = ["train", "--stems", str(stems), "-o", str(output), *TINY, "--steps", "100000"]
    # Slow steps, so that the worker waits when Ctrl-C comes: busy ones take it for a failed batch.
    code = """
import sys, time
if __name__ == "__main__":
    from semmix.training import cli, trainer
    from semmix_rt.cli.root import main
    cli.LOG_EVERY_S = 0.0
    loss = trainer.batch_loss
    trainer.batch_loss = lambda *arguments: time.sleep(1.0) or loss(*arguments)
    sys.exit(main(sys.argv[1:]))
"""
    script = tmp_path / "script.py"
    script.write_text(code)
    process = subprocess.Popen(
        [sys.executable, str(script), *arguments],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stderr is not None
        heard = [process.stderr.readline() for _ in range(3)]
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    said = [line for line in (*heard, *err.splitlines()) if line.strip()]
    lines = [line for line in said if not line.startswith("step ")]
    assert process.returncode == EXIT_INTERRUPTED, err
    assert out == ""
    assert len(lines) == 1, lines
    step = load_checkpoint(output).step
    assert step >= 3
    kept = f"{output} holds step {step}: go on with --resume {output} -o {output}"
    assert lines[0] == f"semmix-rt: interrupted; {kept}"


def test_a_finished_run_is_not_resumed(
    stems: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.safetensors"
    assert train(stems, path, "--steps", "1") == 0
    before = path.read_bytes()
    assert train(stems, path, "--resume", str(path), "--steps", "1") == 2
    assert "is at step 1 already: give more --steps" in capsys.readouterr().err
    assert path.read_bytes() == before
