"""Find engines by name, without importing what is not asked for.

Engines announce themselves in the entry-point group `semmix_rt.engines`; each is a class with
`open(bundle, threads, precision) -> Engine`, those for models that hear whole windows in
`semmix_rt.window_engines`. So the runtime can run the PyTorch engine and never imports PyTorch
itself.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from semmix.bundle import Bundle
from semmix.errors import EngineError
from semmix_rt.engines.base import Engine, WindowEngine

GROUP = "semmix_rt.engines"
WINDOW_GROUP = "semmix_rt.window_engines"
DEFAULT_ENGINE = "ort"

# What to install where an engine's import fails: missing module -> (who needs it, remedy).
_REMEDIES = {
    "torch": ("the PyTorch engine needs torch", "pip install 'semmix-rt[train]'"),
    "onnxruntime": (
        "the ONNX Runtime engine needs onnxruntime",
        "pip install 'semmix-rt[cpu]', or 'semmix-rt[gpu]' on a machine with an NVIDIA GPU",
    ),
    "safetensors": ("the PyTorch engine needs safetensors", "pip install 'semmix-rt[train]'"),
}


def engine_names() -> tuple[str, ...]:
    """Names that `open_engine` takes besides `auto`."""
    return tuple(sorted(_entries(GROUP)))


def window_engine_names() -> tuple[str, ...]:
    """Names that `open_window_engine` takes besides `auto`."""
    return tuple(sorted(_entries(WINDOW_GROUP)))


def open_engine(
    bundle: Bundle, name: str = "auto", *, threads: int = 1, precision: str = "fp32"
) -> Engine:
    """Load a bundle's networks into an engine.

    Args:
        bundle: the model.
        name: `ort` (ONNX Runtime on the CPU), `ort-cuda`, `ort-tensorrt`, `torch`, or any
            other announced engine. `auto` is `ort`: the same result on every machine.
        threads: CPU threads of one inference call. ONNX Runtime gives each stream of a batch one.
        precision: of the mask network, one that the bundle holds.

    Raises:
        EngineError: no such engine, or its packages are missing.
        ProviderError: the engine would run on other hardware than its name says.
        EngineMismatchError: the graphs do not fit the bundle's spec, or the engine cannot run
            that precision.
        ModelFormatError: the bundle lacks the precision or changed since it was loaded, or its
            graph is damaged.
    """
    engine: Engine = _open(GROUP, bundle, name, threads, precision)
    return engine


def open_window_engine(
    bundle: Bundle, name: str = "auto", *, threads: int = 1, precision: str = "fp32"
) -> WindowEngine:
    """Load the networks of a bundle whose `window_spec` is not None; see `open_engine`.

    Args:
        bundle: the model.
        name: `ort` (ONNX Runtime on the CPU, also `auto`) or `torch`, which needs a bundle that
            carries weights for PyTorch.
        threads: CPU threads of one inference call.
        precision: of the mask network, one that the bundle holds.
    """
    engine: WindowEngine = _open(WINDOW_GROUP, bundle, name, threads, precision)
    return engine


def _open(group: str, bundle: Bundle, name: str, threads: int, precision: str) -> Any:
    entries = _entries(group)
    entry = entries.get(DEFAULT_ENGINE if name == "auto" else name)
    if entry is None:
        where = "" if group == GROUP else f" for {bundle.name!r}, which hears whole windows"
        raise EngineError(
            f"there is no engine {name!r}{where}: choose one of auto, {', '.join(sorted(entries))}"
        )
    if threads < 1:
        raise EngineError(f"an engine cannot run on {threads} threads: ask for 1 or more")
    bundle.check_holds(precision)
    try:
        return entry.load().open(bundle, threads, precision)
    except ModuleNotFoundError as exc:
        who, remedy = _REMEDIES.get(
            (exc.name or "").partition(".")[0],
            (f"the engine {entry.name!r} needs the module {exc.name}", "install it"),
        )
        raise EngineError(f"{who}: {remedy}") from exc


def _entries(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=group)}
