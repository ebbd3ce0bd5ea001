"""`semmix-rt --help` answers at once because it imports next to nothing.

The imports are asserted instead of the time: a busy machine must not fail the suite.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    *("numpy", "torch", "av", "onnxruntime", "tokenizers", "rich", "soundfile", "soxr", "scipy"),
    *("platformdirs", "asyncio", "huggingface_hub"),
}
ALLOWED = {"click", "semmix", "semmix_rt"}


def modules_loaded_by(*line: str) -> set[str]:
    code = (
        "import sys\n"
        "from semmix_rt.cli.root import main\n"
        f"code = main({list(line)!r})\n"
        "print(*sys.modules, file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout
    return set(done.stderr.split())


@pytest.mark.parametrize("line", [("--help",), ("--version",)])
def test_the_root_imports_click_and_little_more(line: tuple[str, ...]) -> None:
    loaded = {name.partition(".")[0] for name in modules_loaded_by(*line)}
    assert not loaded & HEAVY
    baseline = subprocess.run(
        [sys.executable, "-c", "import sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    before = {name.partition(".")[0] for name in baseline.stdout.split()}
    third_party = loaded - before - set(sys.stdlib_module_names) - {"__main__"}
    assert third_party <= ALLOWED


def test_the_root_imports_no_command() -> None:
    loaded = modules_loaded_by("--help")
    inside = {name for name in loaded if name.startswith(("semmix_rt.", "semmix."))}
    assert inside <= {"semmix_rt.cli", "semmix_rt.cli.root", "semmix.errors"}


@pytest.mark.parametrize("command", ["remix", "cues", "env"])
def test_the_help_of_a_command_starts_no_engine(command: str) -> None:
    loaded = {name.partition(".")[0] for name in modules_loaded_by(command, "--help")}
    assert not loaded & {"torch", "av", "onnxruntime", "tokenizers"}
