"""Parity records of ONNX Runtime's GPU providers: made on this machine, and kept for it.

What a GPU's kernels make of a proved graph is another thing than what a CPU's do, and differs
with the GPU, its driver and the version of ONNX Runtime. So `semmix-rt verify` keeps these records
beside compiled engines, and not in the bundle, which travels.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from semmix.atomic import write_atomically
from semmix.bundle import Bundle
from semmix.errors import EngineError
from semmix_rt.engines.trt.library import LIBRARIES
from semmix_rt.engines.trt.plans import FOLDER_VARIABLE, plans_folder
from semmix_rt.engines.trt.trust import make_private

ENGINES = ("ort-cuda", "ort-tensorrt")
"""Engines whose records lie here."""
ON_GPU = (*LIBRARIES, *ENGINES)
"""All engines on GPUs: those that are compiled keep records of their own beside their plans."""

_LIST_GPUS = ("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
_PATIENCE_S = 20.0


class RecordedHere:
    """What engines on GPU providers share: the record of this machine.

    Attributes:
        name, precision: see `Engine`.
        bundle: whose networks they run.
    """

    name: str
    precision: str
    bundle: Bundle

    @property
    def unproved(self) -> str:
        """Why it is not proved, as the end of a sentence; else empty."""
        try:
            record = json.loads(self._record_path().read_bytes())
        except (OSError, ValueError, RecursionError):
            return f"in {self.precision} has never been compared with PyTorch on this machine"
        if self.bundle.proves(self.precision, record):
            return ""
        return f"in {self.precision} failed its comparison with PyTorch on this machine"

    def keep_parity(self, record: Mapping[str, Any]) -> None:
        """Write what was found when it was held against PyTorch.

        Raises:
            EngineError: the folder cannot be written.
        """
        path = self._record_path()
        try:
            make_private(path.parent)
            write_atomically(path, json.dumps(dict(record)).encode())
        except OSError as exc:
            raise EngineError(
                f"records cannot be written to {path.parent} ({exc.strerror or exc}): make space "
                f"there, or name another folder in {FOLDER_VARIABLE}"
            ) from exc

    def _record_path(self) -> Path:
        """Where the record lies; its name holds all that it depends on, so that none is stale."""
        import onnxruntime

        bundle = self.bundle
        about = [
            *(self.name, self.precision, onnxruntime.__version__, gpus()),
            *(bundle.highlighter_sha256(self.precision), bundle.context_sha256),
        ]
        name = hashlib.sha256(json.dumps(about).encode()).hexdigest()
        return plans_folder() / "onnxruntime" / f"{name}.json"


@cache
def gpus() -> str:
    """Names and drivers of this machine's GPUs as NVIDIA's tool lists them, empty without it."""
    try:
        told = subprocess.run(
            _LIST_GPUS, capture_output=True, text=True, timeout=_PATIENCE_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return told.stdout.strip()
