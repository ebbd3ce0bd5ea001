"""A tiny seeded model as ONNX and as NumPy, so that engines are tested against plain arithmetic.

The mask network is causal with a look-ahead of one frame:

    energy[t]  = mean over F of spectrum[t] * projection, [hidden]
    trail[t]   = DECAY * trail[t - 1] + energy[t], unrolled over the chunk
    cue[t]     = weighted sum over segments and cues of the tokens, through a matrix, [hidden]
    mask[t]    = 2 * sigmoid((trail[t] + cue[t]) @ head), then delayed by one frame

State: `trail` [H] carries the sum, `held` [F] the mask that is delayed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from support_parity import record_of

from semmix.bundle import Bundle, write_bundle
from semmix.cues.types import CUE_TYPES
from semmix.specs import AudioSpec, ChunkSpec, ModelSpec, StateSpec, StftSpec

Float32 = NDArray[np.float32]

DECAY = 0.5
HIDDEN = 3

TINY_SPEC = ModelSpec(
    name="tiny",
    audio=AudioSpec(16_000),
    stft=StftSpec(n_fft=64, hop_samples=32),
    chunk=ChunkSpec(context_frames=0, kept_frames=4, lookahead_frames=1),
    cue_types=tuple(str(c) for c in CUE_TYPES),
    embedding_dim=5,
    token_dim=4,
    max_segments=2,
    max_gain_db=6.1,
    programme_lufs=-23.0,
    text_encoder="tiny-text",
    state=(StateSpec("trail", (HIDDEN,)), StateSpec("held", (33,))),
)


@dataclass(frozen=True)
class TinyModel:
    """Weights of the tiny model and the arithmetic the graphs stand for."""

    spec: ModelSpec
    context: Float32
    projection: Float32
    cue: Float32
    head: Float32

    def encode_context(self, embeddings: Float32) -> Float32:
        return np.tanh(embeddings @ self.context)

    def run(
        self, spectrum: Float32, tokens: Float32, weights: Float32, state: tuple[Float32, ...]
    ) -> tuple[Float32, tuple[Float32, ...]]:
        trail, held = state
        energy = spectrum @ self.projection / spectrum.shape[-1]
        flat = tokens.reshape(*tokens.shape[:2], -1)
        cues = weights @ flat @ self.cue
        masks = [held]
        for t in range(spectrum.shape[1]):
            trail = np.float32(DECAY) * trail + energy[:, t]
            masks.append(2 / (1 + np.exp(-(trail + cues[:, t]) @ self.head)))
        stacked = np.stack(masks, axis=1).astype(np.float32)
        return stacked[:, :-1], (trail, stacked[:, -1])


def tiny_model(seed: int = 0, spec: ModelSpec = TINY_SPEC) -> TinyModel:
    rng = np.random.default_rng(seed)

    def matrix(*shape: int) -> Float32:
        return rng.standard_normal(shape).astype(np.float32)

    cues = len(spec.cue_types) * spec.token_dim
    return TinyModel(
        spec,
        context=matrix(spec.embedding_dim, spec.token_dim),
        projection=matrix(spec.stft.bins, HIDDEN),
        cue=matrix(cues, HIDDEN) / cues,
        head=matrix(HIDDEN, spec.stft.bins),
    )


def context_onnx(model: TinyModel) -> bytes:
    spec = model.spec
    cues = len(spec.cue_types)
    return _serialise(
        [
            helper.make_node("MatMul", ["embeddings", "context"], ["projected"]),
            helper.make_node("Tanh", ["projected"], ["tokens"]),
        ],
        {"embeddings": ["segments", cues, spec.embedding_dim]},
        {"tokens": ["segments", cues, spec.token_dim]},
        {"context": model.context},
    )


def highlighter_onnx(model: TinyModel, trail_output: str = "next_trail") -> bytes:
    """The mask graph; a chunk is unrolled frame by frame, as its length is fixed."""
    spec = model.spec
    frames, bins, cues = spec.chunk.kept_frames, spec.stft.bins, len(spec.cue_types)
    node = helper.make_node
    nodes = [
        node("MatMul", ["spectrum", "projection"], ["energy"]),
        node("Reshape", ["tokens", "flat_shape"], ["flat"]),
        node("MatMul", ["weights", "flat"], ["mixed"]),
        node("MatMul", ["mixed", "cue"], ["cues"]),
        node("Unsqueeze", ["held", "time_axis"], ["mask_0"]),
    ]
    trail = "trail"
    for t in range(frames):
        following = trail_output if t == frames - 1 else f"trail_{t}"
        nodes += [
            node("Gather", ["energy", f"index_{t}"], [f"energy_{t}"], axis=1),
            node("Gather", ["cues", f"index_{t}"], [f"cue_{t}"], axis=1),
            node("Mul", [trail, "decay"], [f"decayed_{t}"]),
            node("Add", [f"decayed_{t}", f"energy_{t}"], [following]),
            node("Add", [following, f"cue_{t}"], [f"hidden_{t}"]),
            node("MatMul", [f"hidden_{t}", "head"], [f"logit_{t}"]),
            node("Sigmoid", [f"logit_{t}"], [f"half_{t}"]),
            node("Mul", [f"half_{t}", "two"], [f"gain_{t}"]),
        ]
        if t < frames - 1:
            nodes.append(node("Unsqueeze", [f"gain_{t}", "time_axis"], [f"mask_{t + 1}"]))
        trail = following
    nodes += [
        node("Concat", [f"mask_{t}" for t in range(frames)], ["mask"], axis=1),
        node("Identity", [f"gain_{frames - 1}"], ["next_held"]),
    ]
    constants: dict[str, NDArray] = {
        "projection": model.projection / np.float32(bins),
        "cue": model.cue,
        "head": model.head,
        "decay": np.float32(DECAY),
        "two": np.float32(2.0),
        "flat_shape": np.array([0, spec.max_segments, cues * spec.token_dim]),
        "time_axis": np.array([1]),
    }
    constants |= {f"index_{t}": np.array(t) for t in range(frames)}
    return _serialise(
        nodes,
        {
            "spectrum": ["batch", frames, bins],
            "tokens": ["batch", spec.max_segments, cues, spec.token_dim],
            "weights": ["batch", frames, spec.max_segments],
            "trail": ["batch", HIDDEN],
            "held": ["batch", bins],
        },
        {
            "mask": ["batch", frames, bins],
            trail_output: ["batch", HIDDEN],
            "next_held": ["batch", bins],
        },
        {name: np.asarray(value) for name, value in constants.items()},
    )


def tiny_inputs(
    model: TinyModel, batch: int = 1, seed: int = 1
) -> tuple[Float32, Float32, Float32, tuple[Float32, ...]]:
    """Seeded spectrum, tokens, weights and state of one chunk."""
    spec = model.spec
    rng = np.random.default_rng(seed)
    frames, segments, cues = spec.chunk.kept_frames, spec.max_segments, len(spec.cue_types)
    spectrum = np.abs(rng.standard_normal((batch, frames, spec.stft.bins)))
    tokens = model.encode_context(
        rng.standard_normal((batch * segments, cues, spec.embedding_dim)).astype(np.float32)
    )
    weights = rng.random((batch, frames, segments))
    weights /= weights.sum(-1, keepdims=True)
    state = tuple(rng.standard_normal((batch, *s.shape)).astype(np.float32) for s in spec.state)
    return (
        spectrum.astype(np.float32),
        tokens.reshape(batch, segments, cues, spec.token_dim),
        weights.astype(np.float32),
        state,
    )


def bundle_parts(seed: int = 0, **changes: object) -> dict[str, object]:
    """Keyword arguments of `write_bundle` for the tiny model."""
    model = tiny_model(seed)
    spectrum, tokens, weights, state = tiny_inputs(model)
    mask, following = model.run(spectrum, tokens, weights, state)
    golden = {"spectrum": spectrum, "tokens": tokens, "weights": weights, "mask": mask}
    for known, before, after in zip(model.spec.state, state, following, strict=True):
        golden |= {known.name: before, f"next_{known.name}": after}
    parts: dict[str, object] = {
        "spec": model.spec,
        "context": context_onnx(model),
        "highlighters": {"fp32": highlighter_onnx(model)},
        "golden": golden,
        "model_card": "# tiny\n\nA seeded model for tests.\n",
        "provenance": {"seed": seed},
    }
    parts |= changes
    graphs = parts["highlighters"]
    assert isinstance(graphs, dict)
    return {"parity": {p: record_of(graphs[p]) for p in graphs if p == "fp32"}} | parts


def broken_fp16(folder: Path) -> Bundle:
    """A bundle in whose fp16 network a weight has overflown to infinities of either sign."""
    parts = bundle_parts()
    highlighters = parts["highlighters"]
    assert isinstance(highlighters, dict)
    model = onnx.load_model_from_string(highlighters["fp32"])
    for tensor in model.graph.initializer:
        if tensor.name == "projection":
            array = numpy_helper.to_array(tensor) * np.float32(np.inf)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    highlighters["fp16"] = model.SerializeToString()
    parts["parity"] = {name: record_of(graph) for name, graph in highlighters.items()}
    return write_bundle(folder, **parts)  # type: ignore[arg-type]


def with_spec(**changes: object) -> ModelSpec:
    return replace(TINY_SPEC, **changes)  # type: ignore[arg-type]


def _serialise(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, list],
    outputs: dict[str, list],
    constants: dict[str, NDArray],
) -> bytes:
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
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 20)])
    onnx.checker.check_model(model)
    return model.SerializeToString()
