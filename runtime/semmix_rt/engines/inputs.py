"""What the graphs of a model take: names and shapes, for every engine alike."""

from __future__ import annotations

from typing import Literal

from semmix.errors import EngineMismatchError
from semmix.specs import ModelSpec, Spec, WindowSpec
from semmix_rt.engines.base import Float32, State

Graph = Literal["context", "highlighter"]
Shapes = dict[str, tuple[int, ...]]

BATCH_AXIS, SEGMENT_AXIS = "batch", "segments"
"""Names of the first axes of exported graphs, of any size: streams or windows, segments of cues."""


def graph_shapes(spec: Spec, graph: Graph, batch: int = 1) -> Shapes:
    """Shape of each input of a graph, for `batch` streams, windows or segments of cues.

    The context graph of a model of windows takes one window's vectors and knows no batch.
    """
    if isinstance(spec, ModelSpec):
        cues, frames = len(spec.cue_types), spec.chunk.kept_frames
        if graph == "context":
            return {"embeddings": (batch, cues, spec.embedding_dim)}
        return {
            "spectrum": (batch, frames, spec.stft.bins),
            "tokens": (batch, spec.max_segments, cues, spec.token_dim),
            "weights": (batch, frames, spec.max_segments),
            **{state.name: (batch, *state.shape) for state in spec.state},
        }
    if graph == "context":
        return {"context": (spec.context_vectors, spec.context_dim)}
    shapes: Shapes = {
        "magnitude": (batch, spec.bins, spec.frames),
        "waveform": (batch, spec.window_samples),
    }
    if spec.context != "none":
        shapes["tokens"] = (batch, spec.context_vectors, spec.token_dim)
    return shapes


def chunk_inputs(
    spec: ModelSpec, spectrum: Float32, tokens: Float32, weights: Float32, state: State
) -> dict[str, Float32]:
    """What `Engine.run` is given, by the names of the graph's inputs.

    Raises:
        EngineMismatchError: a state of another number of tensors.
    """
    if len(state) != len(spec.state):
        raise EngineMismatchError(
            f"the engine got {len(state)} state tensors and needs {len(spec.state)}: "
            "start from initial_state() and feed back what run() returned"
        )
    inputs = {"spectrum": spectrum, "tokens": tokens, "weights": weights}
    return inputs | {known.name: array for known, array in zip(spec.state, state, strict=True)}


def window_inputs(
    spec: WindowSpec, magnitude: Float32, waveform: Float32, tokens: Float32 | None
) -> dict[str, Float32]:
    """What `WindowEngine.run` is given, by the names of the graph's inputs.

    Raises:
        EngineMismatchError: tokens for a model without context, or none for one with it.
    """
    if (tokens is None) != (spec.context == "none"):
        raise EngineMismatchError(
            f"the model {spec.name!r} takes {'no' if tokens is not None else 'its'} context "
            "tokens: give what encode_context makes, or none to a model without context"
        )
    inputs = {"magnitude": magnitude, "waveform": waveform}
    return inputs if tokens is None else inputs | {"tokens": tokens}
