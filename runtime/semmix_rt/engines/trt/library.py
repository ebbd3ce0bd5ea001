"""The two libraries, `tensorrt` and `tensorrt-rtx`, found and loaded late.

Both have the same Python interface, as far as it is used here: networks are strongly typed, so
precision is what the ONNX graph says (TensorRT 11 knows nothing else).
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from functools import cache
from typing import Any

from semmix.errors import EngineError

_REMEMBERED = 20


@dataclass(frozen=True, slots=True)
class Library:
    """One of the two libraries.

    Attributes:
        name: as engines are called, and users ask for it.
        module: what Python imports.
        title: what messages call it.
        oldest, newest: versions `(major, minor)` it is used from, and below.
        install: how to get it.
    """

    name: str
    module: str
    title: str
    oldest: tuple[int, int]
    newest: tuple[int, int]
    install: str


LIBRARIES = {
    "tensorrt": Library(
        "tensorrt",
        "tensorrt",
        "TensorRT",
        (10, 13),
        (12, 0),
        # Its packages fetch their libraries from NVIDIA's own index while they are installed.
        "pip install 'semmix-rt[tensorrt]' where NVIDIA's package index can be reached",
    ),
    "tensorrt-rtx": Library(
        "tensorrt-rtx",
        "tensorrt_rtx",
        "TensorRT for RTX",
        (1, 7),
        (2, 0),
        "pip install 'semmix-rt[tensorrt-rtx]'",
    ),
}


def load(library: Library) -> Any:
    """Import a library.

    Raises:
        EngineError: it is missing, does not start, or has a version that was never tried.
    """
    try:
        # Written out, so that whoever reads imports finds them.
        if library.module == "tensorrt":
            import tensorrt as trt
        else:
            import tensorrt_rtx as trt
    except ImportError as exc:
        missing = isinstance(exc, ModuleNotFoundError) and exc.name == library.module
        reason = "is not installed" if missing else f"does not start ({exc})"
        raise EngineError(f"{library.title} {reason}: {library.install}") from exc
    check_version(library, str(trt.__version__))
    return trt


def check_version(library: Library, version: str) -> None:
    """Refuse a version outside of the library's range.

    Raises:
        EngineError: it is outside.
    """
    numbers = re.match(r"(\d+)\.(\d+)", version)
    found = (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)
    if not library.oldest <= found < library.newest:
        oldest, newest = (".".join(map(str, v)) for v in (library.oldest, library.newest))
        raise EngineError(
            f"{library.title} {version} is installed, this version of semmix-rt works with "
            f"{oldest} up to, but without, {newest}: {library.install}"
        )


class Journal:
    """What a library said: its last complaints and, while recording, everything.

    Attributes:
        logger: the library's logger object that writes here.
        complaints: the last errors and warnings, oldest first.
    """

    def __init__(self, trt: Any) -> None:
        """Make the logger of a loaded library."""
        self.complaints: deque[str] = deque(maxlen=_REMEMBERED)
        self._recorded: list[str] | None = None
        journal, worst = self, trt.ILogger.Severity.WARNING

        class Logger(trt.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                journal.note(message, complaint=int(severity) <= int(worst))

        self.logger = Logger()

    def note(self, message: str, *, complaint: bool) -> None:
        """Write a message down."""
        if complaint:
            self.complaints.append(message)
        if self._recorded is not None:
            self._recorded.append(message)

    def record(self) -> None:
        """Forget what was said, and keep everything from now on."""
        self.complaints.clear()
        self._recorded = []

    def recorded(self) -> list[str]:
        """Stop recording; what was said since `record`."""
        messages, self._recorded = self._recorded or [], None
        return messages

    def reason(self) -> str:
        """The last complaint, in one line, for messages."""
        return " ".join(self.complaints[-1].split())[:300] if self.complaints else "no reason given"


@cache
def journal(library: Library) -> Journal:
    """The journal of a library: one for the process, as the first logger serves all builders.

    Raises:
        EngineError: see `load`.
    """
    return Journal(load(library))
