"""Whether a network has been proved to say what PyTorch says, before a film is trusted to it."""

from __future__ import annotations

from semmix.bundle import Bundle
from semmix.errors import ParityError

_REFERENCE = "torch"


def check_proof(bundle: Bundle, engine: str, precision: str, *, allow_unverified: bool) -> str:
    """Refuse a precision whose parity record is missing or failed.

    The PyTorch engine is what records compare with, and needs none.

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
    if engine == _REFERENCE or bundle.parity_passed(precision):
        return ""
    failed = precision in bundle.parity
    found = "failed its comparison" if failed else "has never been compared"
    sentence = f"the {precision} network of {bundle.path} {found} with PyTorch"
    if allow_unverified:
        return f"{sentence}: what it makes of the sound may be wrong"
    raise ParityError(
        f"{sentence}: run `semmix-rt verify {bundle.path}`, or pass --allow-unverified "
        "(allow_unverified=True) to hear it all the same"
    )
