"""Models that hear whole windows: a tiny one as ONNX and as NumPy, short windows for real ones.

The tiny mask network, by the mean `m` of the tokens (0 without context):

    mask = 0.5 + tanh(magnitude) * (1 + m),    wave = 0.25 * waveform + m

and its context encoder is `tokens = tanh(context @ projection)`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from support_parity import record_of

from semmix.bundle import Bundle, write_bundle
from semmix.nn import BaseSemMix
from semmix.nn.base.engine import window_spec
from semmix.specs import AudioSpec, WindowSpec

Float32 = NDArray[np.float32]

TINY_WINDOW = WindowSpec(
    name="tiny-window",
    audio=AudioSpec(16_000),
    n_fft=64,
    hop_samples=16,
    window_samples=1_000,
    stride_samples=640,
    edge_samples=120,
    context="text",
    context_dim=6,
    context_vectors=5,
    token_dim=4,
    text_encoder="any of 6 numbers",
)


def with_context(context: str, **changes: object) -> WindowSpec:
    """The tiny spec with another kind of context."""
    if context == "none":
        changes |= {"context_dim": 0, "context_vectors": 0, "token_dim": 0, "text_encoder": ""}
    return replace(TINY_WINDOW, context=context, **changes)  # type: ignore[arg-type]


class TinyWindowEngine:
    """The tiny model in NumPy; remembers the context vectors it was given."""

    name, provider, precision = "rule", "none", "fp32"

    def __init__(self, spec: WindowSpec = TINY_WINDOW) -> None:
        self.spec = spec
        self.heard: list[Float32] = []

    def encode_context(self, vectors: Float32) -> Float32:
        self.heard.append(vectors.copy())
        return np.tanh(vectors @ projection(self.spec))

    def run(
        self, magnitude: Float32, waveform: Float32, tokens: Float32 | None
    ) -> tuple[Float32, Float32]:
        mean = np.float32(0) if tokens is None else tokens.mean((1, 2), keepdims=True)
        mask = np.float32(0.5) + np.tanh(magnitude) * (1 + mean)
        added = mean if tokens is None else mean[:, 0]
        return mask, np.float32(0.25) * waveform + added


def projection(spec: WindowSpec) -> Float32:
    rng = np.random.default_rng(5)
    return rng.standard_normal((spec.context_dim, spec.token_dim)).astype(np.float32)


def tiny_window_parts(spec: WindowSpec = TINY_WINDOW, **changes: object) -> dict[str, object]:
    """Keyword arguments of `write_bundle` for the tiny model."""
    parts: dict[str, object] = {
        "spec": spec,
        "context": None if spec.context == "none" else _context_onnx(spec),
        "highlighters": {"fp32": _highlighter_onnx(spec)},
        "golden": {"zero": np.zeros(1, np.float32)},
        "model_card": "# tiny window\n",
        "provenance": {},
    }
    parts |= changes
    graphs = parts["highlighters"]
    assert isinstance(graphs, dict)
    return {"parity": {"fp32": record_of(graphs["fp32"])}} | parts


def tiny_window_bundle(path: Path, spec: WindowSpec = TINY_WINDOW) -> Bundle:
    return write_bundle(path, **tiny_window_parts(spec))  # type: ignore[arg-type]


def short_windows(network: BaseSemMix) -> WindowSpec:
    """Windows of 0.9 s instead of 10: exports and runs of a test take a tenth."""
    spec = window_spec(network.config)
    return replace(
        spec,
        window_samples=40_000,
        stride_samples=24 * 1024,
        edge_samples=4_096,
        context_vectors=min(3, spec.context_vectors),
    )


def _context_onnx(spec: WindowSpec) -> bytes:
    node = helper.make_node
    vectors = spec.context_vectors
    return _serialise(
        [
            node("MatMul", ["context", "projection"], ["projected"]),
            node("Tanh", ["projected"], ["flat"]),
            node("Unsqueeze", ["flat", "first"], ["tokens"]),
        ],
        {"context": [vectors, spec.context_dim]},
        {"tokens": [1, vectors, spec.token_dim]},
        {"projection": projection(spec), "first": np.array([0])},
    )


def _highlighter_onnx(spec: WindowSpec) -> bytes:
    node = helper.make_node
    inputs = {
        "magnitude": ["batch", spec.bins, spec.frames],
        "waveform": ["batch", spec.window_samples],
    }
    nodes = [
        node("Tanh", ["magnitude"], ["level"]),
        node("Mul", ["waveform", "quarter"], ["quiet"]),
    ]
    if spec.context == "none":
        nodes += [
            node("Add", ["level", "half"], ["mask"]),
            node("Identity", ["quiet"], ["wave"]),
        ]
    else:
        inputs["tokens"] = ["batch", spec.context_vectors, spec.token_dim]
        nodes += [
            node("ReduceMean", ["tokens", "inner"], ["mean"], keepdims=1),
            node("Squeeze", ["mean", "last"], ["added"]),
            node("Add", ["mean", "one"], ["gain"]),
            node("Mul", ["level", "gain"], ["moved"]),
            node("Add", ["moved", "half"], ["mask"]),
            node("Add", ["quiet", "added"], ["wave"]),
        ]
    return _serialise(
        nodes,
        inputs,
        {"mask": ["batch", spec.bins, spec.frames], "wave": ["batch", spec.window_samples]},
        {
            "quarter": np.float32(0.25),
            "half": np.float32(0.5),
            "one": np.float32(1.0),
            "inner": np.array([1, 2]),
            "last": np.array([2]),
        },
    )


def _serialise(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, list],
    outputs: dict[str, list],
    constants: dict[str, NDArray],
) -> bytes:
    used = {name for node in nodes for name in node.input}

    def values(table: dict[str, list]) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in table.items()
        ]

    graph = helper.make_graph(
        nodes,
        "tiny",
        values(inputs),
        values(outputs),
        [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items() if n in used],
    )
    model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 20)])
    onnx.checker.check_model(model)
    return model.SerializeToString()
