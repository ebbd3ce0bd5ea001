"""Whether a network has been proved to say what PyTorch says, before a film is trusted to it."""

from __future__ import annotations

from semmix.bundle import Bundle
from semmix.errors import ParityError
from semmix_rt.engines.base import Engine, WindowEngine
from semmix_rt.engines.ort_records import ON_GPU
from semmix_rt.timing import TimedEngine, TimedWindowEngine

_REFERENCE = "torch"


def check_proof(bundle: Bundle, engine: str, precision: str, *, allow_unverified: bool) -> str:
    """Refuse a precision whose parity record is missing or failed.

    The PyTorch engine is what records compare with, and needs none. Compiled engines and the GPU
    providers of ONNX Runtime have records of their own on this machine: see `check_engine_proof`.

    Args:
        bundle: the model.
        engine: as `open_engine` takes it.
        precision: of the mask network.
        allow_unverified: say so instead of refusing.

    Returns:
        a warning, empty where all is well.

    Raises:
        ModelFormatError: the bundle does not hold the precision.
        ParityError: there is no passing record, and that is not allowed.
    """
    bundle.check_holds(precision)
    if engine == _REFERENCE or engine in ON_GPU or bundle.parity_passed(precision):
        return ""
    failed = precision in bundle.parity
    found = "failed its comparison" if failed else "has never been compared"
    sentence = f"the {precision} network of {bundle.path} {found} with PyTorch"
    return _doubt(sentence, f"semmix-rt verify {bundle.path}", allow_unverified)


def check_engine_proof(
    bundle: Bundle,
    engine: Engine | WindowEngine | TimedEngine | TimedWindowEngine,
    *,
    allow_unverified: bool,
) -> str:
    """Refuse an engine on a GPU that has no passing parity record on this machine.

    What a compiler or other kernels made of a proved graph is another thing than the graph on a
    CPU, and so is each compilation. Engines that the bundle's record is about pass.

    Args:
        bundle: the model.
        engine: opened.
        allow_unverified: say so instead of refusing.

    Returns:
        a warning, empty where all is well.

    Raises:
        ParityError: there is no passing record, and that is not allowed.
        EngineMismatchError: a plan's sidecar is damaged.
    """
    found: str = getattr(engine, "unproved", "")
    if not found:
        return ""
    command = (
        f"semmix-rt verify {bundle.path} --engine {engine.name} --precision {engine.precision}"
    )
    return _doubt(f"the {engine.name} engine of {bundle.path} {found}", command, allow_unverified)


def brief_proof(bundle: Bundle, engine: str, precision: str) -> str:
    """A sentence where what proves a network was found on few sounds, else empty.

    Args:
        bundle: the model, proved.
        engine, precision: see `check_proof`.
    """
    record = bundle.parity.get(precision)
    if engine == _REFERENCE or engine in ON_GPU or not isinstance(record, dict):
        return ""
    if record.get("brief") is not True or not bundle.parity_passed(precision):
        return ""
    return (
        f"the {precision} network of {bundle.path} was held against PyTorch on few sounds only: "
        f"`semmix-rt verify {bundle.path}` lets it hear all"
    )


def _doubt(sentence: str, command: str, allow_unverified: bool) -> str:
    if allow_unverified:
        return f"{sentence}: what it makes of the sound may be wrong"
    raise ParityError(
        f"{sentence}: run `{command}`, or pass --allow-unverified (allow_unverified=True) to hear "
        "it all the same"
    )
