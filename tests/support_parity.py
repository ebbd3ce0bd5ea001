"""Records of the parity gate for bundles that no gate has heard."""

from __future__ import annotations

import hashlib
from typing import Any

from semmix.bundle.parity import Parity, SoundParity
from semmix.bundle.thresholds import Thresholds

PASSES_ANY = SoundParity("speech", True, "none", 0.0, 0.0, 1.0, 120.0, 0.0, 0.0, 0.0)


def record_of(graph: bytes, *, context: bytes | None = None, **changes: Any) -> dict[str, Any]:
    """A record that passes in every precision, about a graph.

    Args:
        graph: ONNX of the mask network.
        context: ONNX of the context encoder; None to leave it unnamed, as records of before do.
        changes: fields that are to be different.
    """
    parity = Parity(Thresholds(90.0, 0.05, 1e-4), (PASSES_ANY,), 120.0, None)
    named = {} if context is None else {"context_sha256": hashlib.sha256(context).hexdigest()}
    about = {"graph_sha256": hashlib.sha256(graph).hexdigest(), **named}
    return {**parity.to_record(), **about, **changes}
