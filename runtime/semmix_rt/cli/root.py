"""`semmix-rt`: finds commands by entry point and turns every failure into one sentence.

Nothing heavy is imported until a command runs, so that `--help` answers at once.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from semmix import __version__
from semmix.errors import SemMixError, UsageError

GROUP = "semmix_rt.commands"
PROGRAM = "semmix-rt"
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

# Help of our own commands, so that listing them imports none. The order is the order of use.
SHORT_HELP = {
    "remix": "Rebalance a video's sound to what its picture shows.",
    "cues": "Read the visual cues of a video into an editable sheet.",
    "train": "Train a network on a folder of stems.",
    "evaluate": "Measure a model on mixes made from stems.",
    "export": "Turn a trained network into a bundle, with its proof of parity.",
    "export-encoder": "Turn a text or CLIP encoder into ONNX for remix.",
    "import": "Turn a published VisAH or SemMix checkpoint into a bundle.",
    "calibrate": "Add FP16 and INT8 to a bundle, measured on real sound.",
    "build": "Compile a bundle into TensorRT engines.",
    "verify": "Prove that a bundle says what PyTorch says.",
    "bench": "Time a model's engines, precisions and chunk lengths side by side.",
    "inspect": "Show what a bundle or a compiled engine is.",
    "env": "Show versions, providers and models of this installation.",
}

# Modules that only some installations have: the extra that brings them.
_EXTRAS = {
    "torch": "train",
    "safetensors": "train",
    "scipy": "train",
    "pyloudnorm": "train",
    "soundfile": "train",
    "onnx": "export",
    "onnxscript": "export",
    "onnxruntime": "cpu",
    "transformers": "lvlm",
    "huggingface_hub": "lvlm",
    "tensorrt": "tensorrt",
    "tensorrt_rtx": "tensorrt-rtx",
    "cuda": "tensorrt-rtx",
}
# Of what `train` brings, these commands need no more than `export` brings.
_SERVED_BY_EXPORT = (
    *("export", "export-encoder", "import", "verify", "inspect", "calibrate", "build"),
)


class LazyGroup(click.Group):
    """A group whose commands are entry points, loaded when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands, known without importing any."""
        names = set(_entries())
        ours = [name for name in SHORT_HELP if name in names]
        return ours + sorted(names - set(ours))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None where there is no such command.

        Raises:
            UsageError: it needs a package that is not installed.
        """
        entry = _entries().get(cmd_name)
        if entry is None:
            return None
        try:
            command: click.Command = entry.load()
        except ModuleNotFoundError as exc:
            raise _missing_module(exc, f"{PROGRAM} {cmd_name}", cmd_name) from exc
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands; only those of other packages are imported for their help."""
        rows = []
        for name in self.list_commands(ctx):
            text = SHORT_HELP.get(name)
            if text is None:
                command = self.get_command(ctx, name)
                text = command.get_short_help_str() if command else ""
            rows.append((name, text))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(
    cls=LazyGroup,
    name=PROGRAM,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 2 usage, 3 media, 4 model, 5 engine, 130 interrupted, 1 other.",
)
@click.version_option(__version__, "-V", "--version", prog_name=PROGRAM)
@click.option(
    "--debug", is_flag=True, help="Show tracebacks (anywhere in the line; SEMMIX_DEBUG=1)."
)
def cli(debug: bool) -> None:
    """Make a video's sound follow its picture.

    Start with: semmix-rt remix input.mp4
    """
    # `main` has acted on --debug already; the option stands here for the help.


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; failures are one sentence on stderr.

    Args:
        argv: arguments without the program's name, by default those of the process.
    """
    args, debug = _take_debug(list(sys.argv[1:] if argv is None else argv))
    try:
        with _terminate_like_interrupt():
            result = cli.main(args=args, prog_name=PROGRAM, standalone_mode=False)
            sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except (KeyboardInterrupt, click.Abort) as exc:
        # A command that keeps its work says so in what it raises; click wraps it.
        kept = str(exc.__cause__ or exc)
        _say(f"interrupted; {kept or 'nothing was left behind'}")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return 1
    except SemMixError as exc:
        return _fail(str(exc), exc.exit_code, debug)
    except ModuleNotFoundError as exc:
        command = next((arg for arg in args if not arg.startswith("-")), "")
        error = _missing_module(exc, "this command", command)
        return _fail(str(error), error.exit_code, debug)
    except Exception as exc:
        reason = str(exc).strip().splitlines()
        named = f"{type(exc).__name__}: {reason[0]}" if reason else type(exc).__name__
        hint = "" if debug else "; run with --debug to see where"
        return _fail(f"unexpected failure ({named}){hint}", 1, debug)


def _entries() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _take_debug(args: list[str]) -> tuple[list[str], bool]:
    """Take `--debug` out wherever it stands before a `--`: hints say "run with --debug"."""
    end = args.index("--") if "--" in args else len(args)
    rest = [arg for arg in args[:end] if arg != "--debug"] + args[end:]
    wanted = os.environ.get("SEMMIX_DEBUG", "") not in ("", "0")
    return rest, wanted or len(rest) < len(args)


def _missing_module(exc: ModuleNotFoundError, who: str, command: str) -> SemMixError:
    name = (exc.name or "").partition(".")[0]
    extra = _EXTRAS.get(name)
    if extra == "train" and command in _SERVED_BY_EXPORT:
        extra = "export"
    if extra is not None:
        return UsageError(f"{who} needs {name}: pip install 'semmix-rt[{extra}]'")
    return SemMixError(f"{who} needs the module {exc.name}: install semmix-rt again")


@contextmanager
def _terminate_like_interrupt() -> Iterator[None]:
    """Let SIGTERM unwind the stack as Ctrl-C does, so that temporary files are removed."""

    def stop(signum: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(EXIT_TERMINATED)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _fail(message: str, exit_code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    _say(f"error: {message}")
    return exit_code


def _say(text: str) -> None:
    click.echo(f"{PROGRAM}: {text}", err=True)


def _silence_stdout() -> None:
    """The reader is gone: keep the interpreter's last flush from complaining."""
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
