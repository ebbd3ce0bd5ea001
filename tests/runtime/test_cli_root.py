from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import click
import pytest
from semmix_rt.cli import root
from semmix_rt.cli.root import SHORT_HELP, main

import semmix
from semmix import errors


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of this file instead of the installed ones."""
    names = ("fail", "leave", "missing", "nested_missing", "stop", "hello", "number")
    entries = [EntryPoint(name, f"{__name__}:{name}", root.GROUP) for name in names]
    commands = {"missing": None, **COMMANDS}

    def load(self: EntryPoint) -> click.Command:
        if self.name == "missing":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
        command = commands[self.name]
        assert command is not None
        return command

    monkeypatch.setattr(root, "entry_points", lambda group: entries)
    monkeypatch.setattr(EntryPoint, "load", load)
    monkeypatch.delenv("SEMMIX_DEBUG", raising=False)


@click.command()
@click.argument("kind")
def fail(kind: str) -> None:
    """Fail in one way."""
    raise {"value": ValueError("bad\nnews"), "empty": ValueError()}.get(kind) or getattr(
        errors, kind
    )("the lamp is out: change the bulb")


@click.command()
@click.argument("code", type=int)
@click.pass_context
def leave(ctx: click.Context, code: int) -> None:
    ctx.exit(code)


@click.command()
def stop() -> None:
    raise KeyboardInterrupt


@click.command()
def nested_missing() -> None:
    raise ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime")


@click.command()
@click.argument("words", nargs=-1)
def hello(words: tuple[str, ...]) -> None:
    """Say hello."""
    click.echo(" ".join(("hello", *words)))


@click.command()
@click.option("--count", type=int)
def number(count: int) -> None:
    click.echo(count)


COMMANDS = {
    "fail": fail,
    "leave": leave,
    "stop": stop,
    "nested_missing": nested_missing,
    "hello": hello,
    "number": number,
}


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("UsageError", 2),
        ("CueSheetError", 2),
        ("MediaError", 3),
        ("VerificationError", 3),
        ("ModelFormatError", 4),
        ("EngineError", 5),
        ("ProviderError", 5),
        ("EngineMismatchError", 5),
        ("ParityError", 5),
        ("SemMixError", 1),
    ],
)
def test_each_failure_is_one_sentence_and_its_code(
    kind: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fail", kind]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "semmix-rt: error: the lamp is out: change the bulb\n"


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(("kind", "named"), [("value", "ValueError: bad"), ("empty", "ValueError")])
def test_unexpected_failures_hide_their_traceback_until_asked(
    kind: str, named: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["fail", kind]) == 1
    assert capsys.readouterr().err == (
        f"semmix-rt: error: unexpected failure ({named}); run with --debug to see where\n"
    )
    for line in (["--debug", "fail", kind], ["fail", kind, "--debug"]):
        assert main(line) == 1
        assert "Traceback" in capsys.readouterr().err
    monkeypatch.setenv("SEMMIX_DEBUG", "1")
    assert main(["fail", "MediaError"]) == 3
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.usefixtures("fake")
def test_what_follows_a_double_dash_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hello", "--", "--debug"]) == 0
    assert capsys.readouterr().out == "hello --debug\n"


@pytest.mark.usefixtures("fake")
def test_exit_codes_pass_through() -> None:
    assert [main(["leave", str(code)]) for code in (0, 1, 7)] == [0, 1, 7]
    assert main(["number", "--count", "3"]) == 0


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    "line", [["nothing"], ["hello", "--loud"], ["number", "--count", "many"], ["--loud"]]
)
def test_usage_errors_exit_with_2(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Usage: semmix-rt" in err


@pytest.mark.usefixtures("fake")
def test_ctrl_c(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stop"]) == 130
    assert capsys.readouterr().err.strip() == "semmix-rt: interrupted; nothing was left behind"


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("missing", "semmix-rt missing needs torch: pip install 'semmix-rt[train]'"),
        ("nested_missing", "this command needs onnxruntime: pip install 'semmix-rt[cpu]'"),
    ],
)
def test_a_missing_package_names_the_extra(
    command: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command]) == 2
    assert capsys.readouterr().err == f"semmix-rt: error: {sentence}\n"


@pytest.mark.parametrize(
    ("command", "module", "extra"),
    [("verify", "torch", "export"), ("train", "torch", "train"), ("build", "cuda", "tensorrt-rtx")],
)
def test_the_extra_is_the_one_that_serves_the_command(
    command: str, module: str, extra: str
) -> None:
    error = root._missing_module(ModuleNotFoundError(name=module), "this command", command)
    assert f"needs {module}: pip install 'semmix-rt[{extra}]'" in str(error)


@pytest.mark.usefixtures("fake")
def test_foreign_commands_are_listed_with_their_own_help(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = EntryPoint("hello", "anywhere:hello", root.GROUP)
    monkeypatch.setattr(root, "entry_points", lambda group: [entry])
    assert main(["--help"]) == 0
    assert "Say hello." in capsys.readouterr().out


def test_every_command_of_ours_is_registered_and_described() -> None:
    names = {entry.name for entry in entry_points(group=root.GROUP)}
    assert set(SHORT_HELP) <= names


@pytest.mark.parametrize("name", sorted(SHORT_HELP))
def test_every_command_loads_and_its_help_agrees(name: str) -> None:
    command = next(e for e in entry_points(group=root.GROUP) if e.name == name).load()
    assert isinstance(command, click.Command)
    assert command.get_short_help_str(limit=200).rstrip(".") == SHORT_HELP[name].rstrip(".")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert semmix.__version__ in capsys.readouterr().out


def run_script(body: str, **kwargs: object) -> subprocess.Popen[str]:
    """Run a command made in a child process through `main`."""
    script = f"""
import sys, time, click
from semmix_rt.cli import root

@root.cli.command()
def work():
{textwrap.indent(textwrap.dedent(body), "    ")}

root.LazyGroup.get_command = lambda self, ctx, name: work
sys.exit(root.main(["work"]))
"""
    return subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **kwargs,  # type: ignore[call-overload]
    )


def test_a_reader_that_leaves_early_causes_no_traceback() -> None:
    child = run_script(
        """
        for number in range(200_000):
            click.echo(number)
        """
    )
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.readline()
    child.stdout.close()
    assert child.stderr.read() == ""
    child.stderr.close()
    assert child.wait(30) == 1


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_unwind_the_stack(number: signal.Signals, code: int, tmp_path: Path) -> None:
    leftover = tmp_path / "temporary"
    child = run_script(
        f"""
        from pathlib import Path
        temporary = Path({str(leftover)!r})
        temporary.touch()
        try:
            print("ready", flush=True)
            time.sleep(60)
        finally:
            temporary.unlink()
        """
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.send_signal(number)
    _, err = child.communicate(timeout=30)
    assert child.returncode == code
    assert not leftover.exists()
    assert "Traceback" not in err
