"""Encoders to ONNX by PyTorch's own exporter: symbolic batch and length, opset 20."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from semmix.encoders.manifest import Kind
from semmix_export.graphs import OPSET, write_graph

INLINE_BYTES = 1 << 30
"""Weights up to this lie in the graph, more beside it: protobuf ends at 2 GB, and ONNX Runtime
keeps what is inside twice while it loads."""

_BATCH, _TOKENS = 3, 11


class _States(nn.Module):
    """A text encoder with the two inputs and the one output that the runtime knows."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        found = self.model(input_ids=input_ids, attention_mask=attention_mask)
        return found.last_hidden_state  # type: ignore[no-any-return]


class _Features(nn.Module):
    """A vision encoder with its projection."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Tensor) -> Tensor:
        return self.model(pixel_values=pixel_values).image_embeds  # type: ignore[no-any-return]


def export_with_torch(model: Any, kind: Kind, length: int, path: Path) -> None:
    """Write an encoder as ONNX, its weights beside the graph where they are large.

    Args:
        model: of the transformers library.
        kind: what it encodes.
        length: most tokens of a text, or pixels of a picture's side.
        path: file to write.
    """
    # The exporter follows neither fused attention nor the masks that come with it.
    model.set_attn_implementation("eager")
    bytes_total = sum(p.numel() * p.element_size() for p in model.parameters())
    batch = torch.export.Dim("batch", min=1, max=256)
    module: nn.Module
    if kind == "text":
        module, output = _States(model), "states"
        ids = torch.arange(_BATCH * _TOKENS).reshape(_BATCH, _TOKENS) % model.config.vocab_size
        # Padding in the example, so that no branch for texts of one length is taken.
        mask = (torch.arange(_TOKENS) < torch.tensor([[_TOKENS], [7], [4]])).long()
        inputs = {"input_ids": ids, "attention_mask": mask}
        axes = {0: batch, 1: torch.export.Dim("length", min=1, max=length)}
    else:
        module, output = _Features(model), "features"
        inputs = {"pixel_values": torch.zeros(_BATCH, 3, length, length)}
        axes = {0: batch}
    write_graph(
        module,
        tuple(inputs.values()),
        path,
        list(inputs),
        [output],
        dict.fromkeys(inputs, axes),
        OPSET,
        external_data=bytes_total > INLINE_BYTES,
    )
