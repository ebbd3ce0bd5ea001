"""Products that INT8 never touches, whatever they cost alone: told from the graph, not measured.

Eight bits span 48 dB between the largest value and the step. That holds what a norm has levelled;
it does not hold what is as loud as the sound. Two kinds of product are as loud as the sound:

- the first ones: what takes an input (or a state, which is an input, too) as it came, past no norm
  and no other product. A scale that fits full scale leaves a quiet bin no steps at all;
- those that a logarithm or a root is taken of, such as the meter's sums of powers: a small value
  that is rounded to nothing becomes a large error.
"""

from __future__ import annotations

from semmix_calibration.fp16 import measured_nodes
from semmix_calibration.graph import Graph

AS_IT_CAME = "takes an input as it came"
MEASURED = "a logarithm or root is taken of it"

_LEVELLING = frozenset(
    {
        *("LayerNormalization", "InstanceNormalization", "GroupNormalization", "Softmax"),
        *("Sigmoid", "Tanh", "MatMul", "Gemm", "Conv", "ConvTranspose", "LSTM"),
    }
)
"""Nodes whose results are bounded, or are those of weights."""


def exempt(graph: Graph) -> dict[str, str]:
    """Why a node keeps its precision, by the node's name; see the top of this file.

    Args:
        graph: in float32.
    """
    found = dict.fromkeys(measured_nodes(graph), MEASURED)
    raw = {value.name for value in graph.model.graph.input} - set(graph.constants)
    for node in graph.nodes:
        if not raw.intersection(node.input):
            continue
        if node.op_type in _LEVELLING:
            found.setdefault(node.name, AS_IT_CAME)
        else:
            raw.update(node.output)
    return found
