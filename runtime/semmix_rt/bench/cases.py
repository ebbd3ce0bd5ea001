"""What a benchmark compares: engines, at the precisions and chunk lengths that were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from semmix.bundle import Bundle
from semmix.errors import UsageError
from semmix_rt.engines import engine_names
from semmix_rt.engines.registry import window_engine_names

SIMULATED = "int8"
"""On CPUs this precision is computed in float32 to tell its accuracy: its time tells nothing."""


NOT_APPLICABLE = {
    "stream": {
        "torch-channels-last": "networks that stream have no convolution over images, so this "
        "would change nothing",
    },
    "window": {},
}
"""By kind of network: engines of the other kind that mean nothing for it, and why."""


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table.

    Attributes:
        engine: name as `open_engine` takes it.
        precision: of the mask network.
        chunk_s: seconds that one call moves the stream on.
    """

    engine: str
    precision: str
    chunk_s: float

    @property
    def label(self) -> str:
        """Such as `ort fp32 2.05 s`."""
        return f"{self.engine} {self.precision} {self.chunk_s:.2f} s"


def known_engines(bundle: Bundle) -> tuple[str, ...]:
    """Names of the engines for this kind of network, on whatever machine."""
    return engine_names() if bundle.window_spec is None else window_engine_names()


def not_applicable(bundle: Bundle) -> dict[str, str]:
    """Engines that mean nothing for this kind of network, and why."""
    return NOT_APPLICABLE[bundle.manifest.spec.kind]


def check_names(
    bundle: Bundle, engines: Sequence[str] | None, precisions: Sequence[str] | None
) -> None:
    """Refuse names that mean nothing for a bundle.

    Raises:
        UsageError: no such engine or precision.
    """
    known, meaningless = known_engines(bundle), not_applicable(bundle)
    for name in engines or ():
        if name in meaningless:
            raise UsageError(f"{name} is not applicable: {meaningless[name]}; leave it out")
        if name not in known:
            raise UsageError(f"there is no engine {name!r}: choose from {', '.join(known)}")
    for precision in precisions or ():
        if precision not in bundle.precisions:
            raise UsageError(
                f"{bundle.path} holds no {precision} network, only "
                f"{', '.join(bundle.precisions)}: choose one of these, or add it with "
                "`semmix-rt calibrate`"
            )


def cases(bundle: Bundle, engines: Sequence[str], precisions: Sequence[str]) -> list[Case]:
    """Combinations to try on one bundle, at its chunk length."""
    step_s = bundle.manifest.spec.step_s
    return [Case(name, precision, step_s) for name in engines for precision in precisions]


def not_held(bundle: Bundle, case: Case) -> str | None:
    """Why a case cannot be timed on this bundle, None where it can."""
    if case.precision in bundle.precisions:
        return None
    return "only fp32 is exported for other chunk lengths: calibrate a bundle that has them"


def not_worth_timing(case: Case) -> str | None:
    """Why a case that nobody named is left out, None where it is not."""
    if case.engine.startswith("torch") and case.precision != "fp32":
        return "PyTorch runs the network that was trained, in fp32"
    if case.precision == SIMULATED and case.engine in ("ort", "ort-bound"):
        return "int8 is bound for TensorRT and simulated on CPUs: its time here says nothing"
    return None
