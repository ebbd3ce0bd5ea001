"""PyTorch to ONNX for networks that hear whole windows: the context and the highlighter graph.

The length of a window is fixed in the graph. The highlighter's batch is symbolic; the context
graph takes one window at a time, because published weights attend across a batch.
"""

from __future__ import annotations

from pathlib import Path

import torch
from semmix_rt.engines.inputs import BATCH_AXIS
from torch import Tensor, nn

from semmix.nn import BaseSemMix
from semmix.specs import WindowSpec
from semmix_export.graphs import OPSET, write_graph


class _Context(nn.Module):
    """The context encoder alone."""

    def __init__(self, network: BaseSemMix) -> None:
        super().__init__()
        self.transformer = network.latent_transformer

    def forward(self, context: Tensor) -> Tensor | None:
        return self.transformer.encode_context(context[None])


class _Highlighter(nn.Module):
    """The mask network without the axis of its one channel."""

    def __init__(self, network: BaseSemMix) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, magnitude: Tensor, waveform: Tensor, tokens: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        mask, wave = self.network.mask(magnitude[:, None], waveform[:, None], tokens)
        return mask[:, 0], wave[:, 0]


def export_window_context(
    network: BaseSemMix, spec: WindowSpec, path: Path, opset: int = OPSET
) -> None:
    """Write `context.onnx`: `context [K, D]` to `tokens [1, K, D']`."""
    example = torch.zeros(spec.context_vectors, spec.context_dim)
    shapes: dict[str, object] = {"context": {}}
    write_graph(_Context(network), (example,), path, ["context"], ["tokens"], shapes, opset)


def export_window_highlighter(
    network: BaseSemMix, spec: WindowSpec, path: Path, opset: int = OPSET
) -> None:
    """Write `highlighter.fp32.onnx`.

    `magnitude [B, F, T]`, `waveform [B, N]` and, where there is context, `tokens [B, K, D']` to
    `mask [B, F, T]` and `wave [B, N]`.
    """
    batch = 3
    inputs = {
        "magnitude": torch.ones(batch, spec.bins, spec.frames),
        "waveform": torch.ones(batch, spec.window_samples),
    }
    if spec.context != "none":
        inputs["tokens"] = torch.ones(batch, spec.context_vectors, spec.token_dim)
    axis = {0: torch.export.Dim(BATCH_AXIS, min=1, max=256)}
    write_graph(
        _Highlighter(network),
        tuple(inputs.values()),
        path,
        list(inputs),
        ["mask", "wave"],
        dict.fromkeys(inputs, axis),
        opset,
    )
