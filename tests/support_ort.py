"""ONNX Runtime as if a GPU provider were built in and started: its sessions compute on the CPU.

It stands in to test what engines ask for and what they refuse. It proves nothing about CUDA or
TensorRT, which never run here.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import onnxruntime as ort
import pytest

CPU = "CPUExecutionProvider"
_REAL = ort.InferenceSession


class StoodIn:
    """What sessions were made with.

    Attributes:
        provider: that is stood in for.
        options: of the provider, session by session; None where none were given.
        sessions: those made.
        parts: how many pieces the provider says it took of a graph.
    """

    def __init__(self, provider: str, parts: int = 1) -> None:
        self.provider, self.parts = provider, parts
        self.options: list[dict[str, str] | None] = []
        self.sessions: list[Any] = []


def stand_in_for(patch: pytest.MonkeyPatch, provider: str, parts: int = 1) -> StoodIn:
    """Let engines open on a provider that is not there."""
    told = StoodIn(provider, parts)

    class Session:
        def __init__(self, model: bytes, options: Any, providers: list[Any], **rest: Any) -> None:
            own = providers[0] if isinstance(providers[0], tuple) else (providers[0], None)
            assert own[0] == provider
            told.options.append(own[1])
            self._real = _REAL(model, options, providers=[CPU], **rest)
            told.sessions.append(self)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

        def get_providers(self) -> list[str]:
            return [provider, CPU]

        def get_provider_graph_assignment_info(self) -> list[Any]:
            product = SimpleNamespace(op_type="MatMul")
            return [
                SimpleNamespace(ep_name=provider, get_nodes=lambda: [product])
                for _ in range(told.parts)
            ]

    patch.setattr(ort, "get_available_providers", lambda: [provider, CPU])
    patch.setattr(ort, "InferenceSession", Session)
    return told
