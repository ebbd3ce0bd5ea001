"""What values a graph's tensors take on real audio: smallest, largest, per tensor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from semmix_calibration.graph import Graph, float_tensors, parse
from semmix_calibration.sessions import exact_session

Feeds = Mapping[str, NDArray[np.float32]]
"""One run's inputs by name."""


@dataclass(frozen=True, slots=True)
class Range:
    """Smallest and largest value that a tensor took."""

    low: float
    high: float

    @property
    def absmax(self) -> float:
        """Largest magnitude."""
        return max(abs(self.low), abs(self.high))


def observe(content: bytes, runs: Iterable[Feeds]) -> dict[str, Range]:
    """Run a graph and note the range of every tensor of floats that a node makes.

    Only two numbers of each tensor leave the graph, so that large networks fit into memory.

    Args:
        content: ONNX.
        runs: inputs, at least one.

    Returns:
        by the tensor's name; the range over all runs.

    Raises:
        EngineError: ONNX Runtime fails on the graph.
        ModelFormatError: the graph is damaged.
    """
    graph = parse(content)
    names, session = _watched(graph)
    low = np.full(len(names), np.inf)
    high = np.full(len(names), -np.inf)
    for feeds in runs:
        results = np.array(session.run(None, dict(feeds)), np.float64).reshape(2, len(names))
        low, high = np.minimum(low, results[0]), np.maximum(high, results[1])
    return {n: Range(float(a), float(b)) for n, a, b in zip(names, low, high, strict=True)}


def _watched(graph: Graph) -> tuple[list[str], onnxruntime.InferenceSession]:
    """The graph with nothing but the extremes of its tensors as outputs."""
    model = graph.model
    floats = float_tensors(model)
    names = [name for node in graph.nodes for name in node.output if name in floats]
    del model.graph.output[:]
    for kind in ("Min", "Max"):
        for name in names:
            found = f"{kind} of {name}"
            model.graph.node.append(
                helper.make_node(f"Reduce{kind}", [name], [f"{found}, as is"], keepdims=0)
            )
            model.graph.node.append(
                helper.make_node("Cast", [f"{found}, as is"], [found], to=TensorProto.FLOAT)
            )
            model.graph.output.append(helper.make_tensor_value_info(found, TensorProto.FLOAT, []))
    return names, exact_session(model.SerializeToString())
